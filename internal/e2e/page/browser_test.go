//go:build linux

package page

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/parts"
)

// browser is a Chromium without a window that is spoken to over a pair of pipes, by the
// Chrome DevTools Protocol (https://chromedevtools.github.io/devtools-protocol/): JSON,
// each message with a zero byte at its end.
type browser struct {
	t       *testing.T
	to      *os.File
	session string

	mu     sync.Mutex
	last   int
	waits  map[int]chan message
	events chan message
}

type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// open starts a browser for the length of the test, with one empty page.
func open(t *testing.T) *browser {
	t.Helper()
	program, err := parts.Program("chromium")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "anycert-chromium")
	must(t, err)
	cmd := exec.CommandContext(t.Context(), program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
		"--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--hide-scrollbars", "--force-color-profile=srgb", "--font-render-hinting=none", "--user-data-dir="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has children
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir)
	hears, to, err := os.Pipe()
	must(t, err)
	from, says, err := os.Pipe()
	must(t, err)
	cmd.ExtraFiles = []*os.File{hears, says} // descriptors 3 and 4
	must(t, cmd.Start())
	must(t, errors.Join(hears.Close(), says.Close()))
	b := &browser{t: t, to: to, waits: make(map[int]chan message), events: make(chan message, 1000)}
	heard := make(chan struct{})
	go func() { defer close(heard); b.hear(from) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		to.Close()
		<-heard
		from.Close()
		for deadline := time.Now().Add(10 * time.Second); os.RemoveAll(dir) != nil && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond) // until the last of them is gone
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log", "Accessibility"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *browser) hear(from *os.File) {
	messages := bufio.NewReader(from)
	for {
		text, err := messages.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		wait := b.waits[m.ID]
		delete(b.waits, m.ID)
		b.mu.Unlock()
		switch {
		case wait != nil:
			wait <- m
		case m.Method == "Page.loadEventFired", m.Method == "Runtime.exceptionThrown", m.Method == "Log.entryAdded":
			b.events <- m
		}
	}
}

// call asks the browser, and reads its answer into result, which may be nil.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	wait := make(chan message, 1)
	b.mu.Lock()
	b.last++
	m := message{ID: b.last, Session: b.session, Method: method, Params: params}
	b.waits[m.ID] = wait
	b.mu.Unlock()
	text, err := json.Marshal(m)
	must(b.t, err)
	_, err = b.to.Write(append(text, 0))
	must(b.t, err)
	select {
	case m = <-wait:
	case <-time.After(time.Minute):
		b.t.Fatalf("%s: the browser does not answer", method)
	}
	if m.Error != nil {
		b.t.Fatalf("%s: %s", method, m.Error.Message)
	}
	if result != nil {
		must(b.t, json.Unmarshal(m.Result, result))
	}
}

// visit opens an address and waits until it has loaded. What the page complains about on
// its console fails the test: a policy that was broken, an error in the script.
func (b *browser) visit(address string) {
	b.t.Helper()
	var answer struct{ ErrorText string }
	b.call("Page.navigate", map[string]any{"url": address}, &answer)
	if answer.ErrorText != "" {
		b.t.Fatalf("%s: %s", address, answer.ErrorText)
	}
	b.loaded()
}

func (b *browser) loaded() {
	b.t.Helper()
	for {
		select {
		case e := <-b.events:
			if e.Method == "Page.loadEventFired" {
				return
			}
			b.t.Errorf("the page says %s %v", e.Method, e.Params)
		case <-time.After(time.Minute):
			b.t.Fatal("the page does not load")
		}
	}
}

// eval runs a script in the page, waits for its promise, and reads its value into result.
func (b *browser) eval(script string, result any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		b.t.Fatalf("%s: %s %s", script, e.Text, e.Exception.Description)
	}
	if result != nil {
		must(b.t, json.Unmarshal(answer.Result.Value, result))
	}
}

// text is what can be read of the page.
func (b *browser) text() (text string) {
	b.t.Helper()
	b.eval("document.body.innerText", &text)
	return text
}

// size makes the page as large as a screen; a telephone shows less at once.
func (b *browser) size(width, height int, phone bool) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}, nil)
}

// prefers sets the colours that the person at the screen prefers: light or dark.
func (b *browser) prefers(colours string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": colours}}}, nil)
}

// scripts switches them on or off for the pages to come.
func (b *browser) scripts(on bool) {
	b.t.Helper()
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": !on}, nil)
}

// shot is the upper part of the page, as PNG.
func (b *browser) shot(width, height int) []byte {
	b.t.Helper()
	var answer struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true, "optimizeForSpeed": false,
		"clip": map[string]any{"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}, &answer)
	picture, err := base64.StdEncoding.DecodeString(answer.Data)
	must(b.t, err)
	return picture
}

// tree lists what a screen reader is told: "role name" of each part that is not ignored.
func (b *browser) tree() (lines []string) {
	b.t.Helper()
	type value struct{ Value any }
	var answer struct {
		Nodes []struct {
			Ignored    bool
			Role, Name value
		}
	}
	b.call("Accessibility.getFullAXTree", nil, &answer)
	for _, n := range answer.Nodes {
		if !n.Ignored {
			lines = append(lines, fmt.Sprintf("%v %v", n.Role.Value, n.Name.Value))
		}
	}
	return lines
}
