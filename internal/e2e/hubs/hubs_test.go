package hubs

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// Two daemons, and three, begin with an empty store at the same time. One order is
// made for each certificate, everything is filled, and then nobody writes any more.
// What is broken is mended without a fight, also when one of them was killed.
func TestDaemonsShareTheWork(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprintf("%d daemons", n), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, cluster)
			config := f.hub("hub.yaml", "example", "api")
			for range n {
				f.start(config)
			}
			f.filled("example", "api")
			f.issuedOnce("example", "api")
			f.calm("once all is filled")

			f.mendsASecret()
			f.calm("once it is mended")

			f.end(0, func(d *world.Daemon) { d.Kill() })
			f.mendsASecret()
			f.calm("without the one that was killed")
			f.issuedOnce("example", "api")
			for len(f.daemons) > 0 {
				f.end(0, (*world.Daemon).End)
			}
		})
	}
}

// mendsASecret deletes one and expects it to be made again, by each daemon at most
// once.
func (f *fleet) mendsASecret() {
	f.T.Helper()
	m := f.Now()
	secrets := f.Clusters[cluster].Client().CoreV1().Secrets("web")
	f.Must(secrets.Delete(f.T.Context(), "api-tls", metav1.DeleteOptions{}))
	f.filled("example", "api")
	f.passes(1)
	written := 0
	for _, r := range kubeserver.Writes(f.ClusterSince(m, cluster)) {
		if r.Resource == "secrets" && r.Status != http.StatusConflict { // then it looked again
			written++
		}
	}
	if written == 0 || written > len(f.daemons) {
		f.T.Errorf("a Secret that was deleted was written %d times by %d daemons", written, len(f.daemons))
	}
}

// During a change of the configuration one daemon knows more certificates than the
// other. Neither takes away what the other put there.
func TestOneKnowsMore(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start(f.hub("older.yaml", "example"))
	f.filled("example")
	f.start(f.hub("newer.yaml", "example", "api"))
	f.filled("example", "api")
	f.calm("with different lists of certificates")
	f.breaks("api")
	f.filled("example", "api")
	f.calm("once it is mended")
	f.issuedOnce("example", "api")
}

// claimed is for how long a daemon that stands still keeps its order, at least: a claim
// holds for 90 s from the last write, and one has just been made.
const claimed = 80 * time.Second

// A daemon dies, or stands still for longer than its claim holds, in the middle of an
// order. Another goes on with the same order; one that stood still finds out that
// it is not its own any more.
func TestOneIsLostInAnOrder(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]struct {
		by      syscall.Signal
		returns bool
	}{
		"killed":  {syscall.SIGKILL, false},
		"stopped": {syscall.SIGSTOP, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			config := f.hub("hub.yaml", "example")
			gone := f.atFinalize(lost.by)
			first := f.start(config)
			gone <- first
			second := f.start(config)
			f.daemons = []*world.Daemon{second}
			begun := time.Now()
			second.Await("has gone on with the order", func() error { return f.holds("example") })
			if waited := time.Since(begun); lost.returns && waited < claimed {
				t.Errorf("the second took the order over after %s, while the first had claimed it", waited)
			}
			f.filled("example")
			f.calm("with the first one lost")
			if lost.returns {
				f.Must(first.Signal(syscall.SIGCONT))
				f.daemons = append(f.daemons, first)
				f.filled("example")
				f.calm("with the first one back")
			}
			f.issuedOnce("example")
		})
	}
}

// atFinalize sends a signal to a daemon at the moment when the CA is handed its first
// CSR. The daemon is told later.
func (f *fleet) atFinalize(signal os.Signal) chan<- *world.Daemon {
	told := make(chan *world.Daemon, 1)
	var once sync.Once
	f.ACME.Intercept(func(_ http.ResponseWriter, r *http.Request) (answered bool) {
		if acmeserver.KindOf(r) == acmeserver.KindFinalize {
			once.Do(func() {
				d := <-told
				if err := d.Signal(signal); err != nil {
					f.T.Error(err)
				}
			})
		}
		return false
	})
	return told
}
