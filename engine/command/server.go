package command

func serverSpecs() []*Spec {
	return []*Spec{
		{Name: "ping", Arity: -1, Flags: Fast | Server},
	}
}
