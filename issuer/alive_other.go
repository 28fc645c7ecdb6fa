//go:build !unix

package issuer

// alive reports whether a process exists, which cannot be told here.
func alive(int) bool { return true }
