package engine

import (
	"godwit/engine/data"
	"godwit/engine/key"
	"godwit/engine/store"
)

// Import writes into an indexed batch what exported commands (command.Export, checked by command.CheckExport) make of the slot, after the
// keys whose items lie in a span are deleted. It returns the earliest expiry that it has written, data.NoExpiry if none. On an error
// the batch must be discarded.
func (o *Owned) Import(b *store.Batch, drop key.Span, commands []byte) (expires int64, err error) {
	tx := data.BeginImport(o.n.store, b)
	tx.SetRand(o.n.random)
	tx.DropKeys(o.slot, drop)
	if err := tx.Err(); err != nil {
		return data.NoExpiry, err
	}
	if err := o.n.table.Import(&tx, commands, o.n.random); err != nil {
		return data.NoExpiry, err
	}
	return tx.Expires(), nil
}
