package truth

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// trouble is something that is wrong with the store, or with what it holds of
// bought.
type trouble struct {
	name    string
	do      func(*scene)
	undo    func(*scene)      // nil: there is nothing to undo
	same    bool              // the version of before is back then; else a new one is put
	verdict map[string]string // by sink
	says    string            // by a sync of each promise that is not kept
	audits  string            // by an audit, if that is something else
	audit   int               // exit code; that of sync is 1
}

const certificatePath = "anycert/certs/bought"

// absentInEveryWay: whatever the store does not say, or says wrongly, changes no
// target.
func (w *scene) absentInEveryWay() {
	w.put(certs.Options{})
	w.run(0, "sync")
	for _, trouble := range w.troubles() {
		w.T.Run(trouble.name, func(t *testing.T) {
			w.in(t).meet(trouble)
		})
	}
	w.listsHalf()
}

// meet shows that a trouble changes nothing, is told, and passes.
func (w *scene) meet(trouble trouble) {
	w.T.Helper()
	before := w.served()
	trouble.do(w)
	// The sync first: what was written by hand is not known to an audit before, nor
	// after it if it cannot be read.
	w.verdicts(w.run(1, "sync", "--no-issue"), "bought", trouble.verdict, trouble.says)
	w.verdicts(w.run(trouble.audit, "audit"), "bought", trouble.verdict, cmp.Or(trouble.audits, trouble.says))
	w.unchanged(trouble.name, before)
	if trouble.undo != nil {
		trouble.undo(w)
	}
	if trouble.same {
		w.run(0, "sync")
		w.unchanged(trouble.name+", and over", before)
		return
	}
	pair := w.put(certs.Options{})
	w.run(0, "sync")
	w.serve(trouble.name+", and over", "bought", pair)
}

func (w *scene) troubles() []trouble {
	kv := func(w *scene) *api.KVv2 { return w.Vault.Client().KVv2("secret") }
	current := func(w *scene) int {
		entry, err := kv(w).GetMetadata(w.T.Context(), certificatePath)
		w.Must(err)
		return entry.CurrentVersion
	}
	put := func(o certs.Options) func(*scene) { return func(w *scene) { w.put(o) } }
	return []trouble{
		{name: "policy taken away", do: func(w *scene) { w.allow(`path "nothing" { capabilities = ["deny"] }`) },
			undo: func(w *scene) { w.allow(w.HubPolicy()) }, same: true,
			verdict: everywhere("unknown"), says: "policies lack read on secret/metadata/" + certificatePath, audit: 1},
		{name: "token revoked", do: func(w *scene) { w.revokeToken() }, undo: func(w *scene) { w.newToken() }, same: true,
			verdict: everywhere("unknown"), says: "ended or was revoked: give another", audit: 1},
		{name: "soft-deleted", do: func(w *scene) { w.Must(kv(w).Delete(w.T.Context(), certificatePath)) },
			undo: func(w *scene) { w.Must(kv(w).Undelete(w.T.Context(), certificatePath, []int{current(w)})) }, same: true,
			verdict: everywhere("unknown"), says: "deleted in the store: undelete that version, or put a new one there", audit: 1},
		{name: "destroyed", do: func(w *scene) { w.Must(kv(w).Destroy(w.T.Context(), certificatePath, []int{current(w)})) },
			verdict: everywhere("unknown"), says: "deleted in the store: undelete that version, or put a new one there", audit: 1},
		{name: "metadata deleted", do: func(w *scene) { w.Must(kv(w).DeleteMetadata(w.T.Context(), certificatePath)) },
			verdict: everywhere("held"), says: "--accept-store bought", audit: 2},
		{name: "mismatched pair", do: func(w *scene) {
			o := certs.Options{Names: domains["bought"]}
			chain, key := testenv.IssueFrom(w.T, w.Strangers, o), testenv.IssueFrom(w.T, w.Strangers, o)
			w.Put("bought", certs.Pair{ChainPEM: chain.ChainPEM, KeyPEM: key.KeyPEM})
		}, verdict: everywhere("unknown"), says: "does not belong to the certificate: use the key", audits: "run `anycert sync` once", audit: 1},
		{name: "weak key", do: put(certs.Options{KeyType: certs.RSA1024}),
			verdict: everywhere("unknown"), says: "an RSA key of 1024 bits is not supported: use 2048 to 4096", audits: "run `anycert sync` once", audit: 1},
		{name: "expired", do: put(certs.Options{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}),
			verdict: everywhere("broken"), says: "it expired at", audit: 2},
		{name: "wrong names", do: put(certs.Options{Names: []string{"example.org"}}),
			verdict: everywhere("broken"), says: "it does not cover example.com", audit: 2},
		{name: "CA:TRUE", do: put(certs.Options{IsCA: true}),
			verdict: everywhere("broken"), says: "it is a CA certificate (CA:TRUE): put a server certificate there", audit: 2},
		{name: "mount taken away", do: func(w *scene) { w.unmount() }, undo: func(w *scene) { w.mount() },
			verdict: everywhere("unknown"), says: "enable a KV version 2 secrets engine there", audit: 1},
		{name: "mount wiped", do: func(w *scene) { w.unmount(); w.mount() },
			verdict: everywhere("held"), says: "--accept-store bought", audit: 2},
	}
}

func (w *scene) unmount() {
	w.T.Helper()
	w.Must(w.Vault.Client().Sys().UnmountWithContext(w.T.Context(), "secret"))
}

// mount mounts an empty KV version 2 secrets engine.
func (w *scene) mount() {
	w.T.Helper()
	w.Must(w.Vault.Client().Sys().MountWithContext(w.T.Context(), "secret", &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}))
	deadline := time.Now().Add(time.Minute) // it answers 400 while it is being made
	for {
		_, err := w.Vault.Client().Logical().ListWithContext(w.T.Context(), "secret/metadata/")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.T.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// listsHalf: what a listing leaves out is not gone.
func (w *scene) listsHalf() {
	w.T.Run("lists half", func(t *testing.T) {
		inner := w.in(t)
		before := inner.served()
		for _, keep := range []int{1, 0} {
			inner.configure(fmt.Sprintf("{vault: {address: %s, auth: %s}}", inner.halving(keep), inner.auth()))
			inner.run(0, "audit")
			inner.run(0, "sync")
			inner.unchanged("a listing of "+strconv.Itoa(keep), before)
		}
		inner.configure(inner.Store(inner.auth()))
	})
}

// halving is Vault behind something that cuts its listings short.
func (w *scene) halving(keep int) (address string) {
	w.T.Helper()
	target, err := url.Parse(w.Vault.Addr)
	w.Must(err)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.URL.Query().Get("list") != "true" || r.StatusCode != http.StatusOK {
				return nil
			}
			var list map[string]any
			if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
				return err
			}
			data := list["data"].(map[string]any)
			data["keys"] = data["keys"].([]any)[:keep]
			text, err := json.Marshal(list)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
			r.Header.Set("Content-Length", strconv.Itoa(len(text)))
			return err
		},
	})
	w.T.Cleanup(proxy.Close)
	return proxy.URL
}
