package anycert

import "context"

// Reference names where a secret is kept. The configuration holds references,
// never secrets. Exactly one field is set.
type Reference struct {
	Env   string `yaml:"env" json:"env,omitempty"`     // a variable of the process; cannot rotate
	File  string `yaml:"file" json:"file,omitempty"`   // a path
	Vault string `yaml:"vault" json:"vault,omitempty"` // MOUNT/PATH#FIELD, of a KV v2 mount
}

// IsZero reports whether nothing is named.
func (r Reference) IsZero() bool { return r == Reference{} }

// String is the reference as an error may show it.
func (r Reference) String() string {
	switch {
	case r.Env != "":
		return "env " + r.Env
	case r.File != "":
		return "file " + r.File
	case r.Vault != "":
		return "vault " + r.Vault
	}
	return "nothing"
}

// Credential is the secret behind a Reference. It is read when first asked for,
// again every ten minutes, and again after a refusal, so that a rotated token is
// picked up without a restart. Safe for concurrent use.
type Credential interface {
	// Secret returns the text, without the line end that editors leave.
	Secret(ctx context.Context) (Secret, error)
	// Refused says that the other side did not accept it: the next call of Secret
	// reads anew.
	Refused()
}

// Problem is a mistake in a part of the configuration.
type Problem struct {
	Field string // path within the part: "namespaces[0]", "dns.settings.CF_DNS_API_TOKEN"; empty for the part itself
	Text  string // what is wrong and what to do, without a full stop
}

// SinkEnv is what every sink is given beside its own configuration.
type SinkEnv struct {
	Name       string // of the sink
	Owner      string // goes into every mark
	UserAgent  string // "anycert/<version>"
	Credential func(reference Reference) Credential
}

// SinkConfig is the configuration of one type of sink: a struct with yaml tags,
// and the way to make the sink from it.
type SinkConfig interface {
	// Check lists every mistake. It opens and asks nothing.
	Check() []Problem
	// Open makes the sink. It asks nobody over the network.
	Open(env SinkEnv) (Sink, error)
}
