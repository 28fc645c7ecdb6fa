package sinktest

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// recorder is a test that may fail without failing the one around it, so that the
// suite itself can be tested.
type recorder struct {
	testing.TB // the test around it: context, temporary folders

	mu       sync.Mutex
	messages []string
	cleanups []func()
}

// record runs check to its end and returns how it failed.
func record(t testing.TB, check func(t testing.TB)) []string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // a goroutine of its own, for FailNow
		defer close(done)
		defer func() {
			for i := len(r.cleanups) - 1; i >= 0; i-- {
				r.cleanups[i]()
			}
		}()
		check(r)
	}()
	<-done
	return r.messages
}

func (r *recorder) add(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, message)
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.messages) > 0
}

func (r *recorder) Cleanup(f func())                  { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Fail()                             { r.add("failed") }
func (r *recorder) FailNow()                          { r.add("failed"); runtime.Goexit() }
func (r *recorder) Error(args ...any)                 { r.add(fmt.Sprintln(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.add(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.add(fmt.Sprintln(args...)); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.add(fmt.Sprintf(format, args...))
	runtime.Goexit()
}
func (r *recorder) Log(...any)          {}
func (r *recorder) Logf(string, ...any) {}
