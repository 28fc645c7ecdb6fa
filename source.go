package anycert

import "context"

// Source is a place where somebody else keeps certificates and renews them: a
// cluster that another tool still serves. It is only ever read.
//
// Its methods may be called by several goroutines at once, give up when the context
// ends, and wrap ErrForbidden and ErrUnavailable where they apply. They never show a
// key or a token.
type Source interface {
	// Place is where a certificate lies, from the configuration alone. Its Key is of
	// the kind that sinks give their targets, so that a sink that would write there is
	// known before it does; its Label says where it is without more words around it.
	Place(certificate string) (Target, error)

	// Fetch reads what lies there now. ErrNotFound: nothing does. ErrMalformed: no
	// certificate with its key. ErrRefused: it is none to be taken from there, such
	// as a copy of our own. Whether it may be served, Check tells.
	Fetch(ctx context.Context, certificate string) (*Bundle, error)
}
