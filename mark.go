package anycert

import "time"

// Mark is what is left at a target to know it again. It is readable by people, and
// holds no secret. It never proves what is served: only observing does.
type Mark struct {
	Owner       string    `json:"owner"`       // which hub; two never fight over one object
	Certificate string    `json:"certificate"` // name in the configuration
	Time        time.Time `json:"time"`        // when the version was written to the store, UTC, whole seconds
	Digest      Digest    `json:"digest"`      // of the chain that was pushed
}

// MarkOf is the mark that a push of entry leaves.
func MarkOf(owner string, entry Entry) Mark {
	return Mark{Owner: owner, Certificate: entry.Name, Time: entry.Time.UTC().Truncate(time.Second), Digest: entry.Digest}
}

// Later reports whether the mark was left by a version of the same certificate that
// is younger than entry: the store went back (law 2).
func (m Mark) Later(entry Entry) bool {
	return m.Certificate == entry.Name && m.Digest != entry.Digest && m.Time.After(entry.Time.UTC().Truncate(time.Second))
}
