package engine

import "godwit/engine/command"

func (s *Session) runServer(spec *command.Spec, args [][]byte) {
	switch spec.Name {
	case "ping":
		s.out.Simple("PONG")
	}
}
