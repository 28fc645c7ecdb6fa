package flytest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/fly/flytest"
	"github.com/google/go-cmp/cmp"
	fly "github.com/superfly/fly-go"
	"github.com/superfly/fly-go/flaps"
	"github.com/superfly/fly-go/tokens"
)

// client is the real client, pointed at the stand-in the way flyctl would be.
func client(t *testing.T, server *flytest.Server) *flaps.Client {
	t.Helper()
	t.Setenv("FLY_FLAPS_BASE_URL", server.URL)
	client, err := flaps.NewWithOptions(t.Context(), flaps.NewClientOpts{Tokens: tokens.Parse(token)})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func imported(t *testing.T, client *flaps.Client, hostname string, pair certs.Pair) *fly.CertificateDetailResponse {
	t.Helper()
	answer, err := client.CreateCustomCertificate(t.Context(), appName, fly.ImportCertificateRequest{
		Hostname: hostname, Fullchain: string(pair.ChainPEM), PrivateKey: string(pair.KeyPEM),
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// The real client speaks with the stand-in through a certificate's life.
func TestLifeOfACertificate(t *testing.T) {
	var forbidden []string
	server := start(t, flytest.Options{Forbidden: func(call string) { forbidden = append(forbidden, call) }})
	client, ctx := client(t, server), t.Context()
	pair := issue(t, certs.Options{Names: []string{"*.example.com"}})
	const hostname = "*.example.com"

	answer := imported(t, client, hostname, pair)
	if answer.Status != "pending_ownership" || answer.Configured || answer.Validation.OwnershipTxtConfigured {
		t.Errorf("after the import: %+v", answer)
	}
	if got := answer.DNSRequirements.Ownership; got.Name != "_fly-ownership.example.com" || got.AppValue == "" {
		t.Errorf("the ownership record asked for is %+v", got)
	}
	if handshake(t, server, "www.example.com") != nil {
		t.Error("a certificate without proven ownership is served")
	}

	server.PointDNS(appName, hostname)
	if answer, err := client.CheckCertificate(ctx, appName, hostname); err != nil || answer.Status != "pending_ownership" {
		t.Errorf("a wildcard whose DNS points at the app: %+v, %v: it needs the TXT record", answer, err)
	}
	server.ConfirmOwnership(appName, hostname)
	answer, err := client.GetCertificate(ctx, appName, hostname)
	if err != nil || answer.Status != "active" || !answer.Configured {
		t.Errorf("with the TXT record: %+v, %v", answer, err)
	}
	certificate := answer.Certificates[0]
	if certificate.Source != "custom" || !certificate.ExpiresAt.Equal(pair.Leaf().NotAfter) || certificate.Issuer != "anycert test root" {
		t.Errorf("the certificate is shown as %+v", certificate)
	}
	if served := handshake(t, server, "www.example.com"); !bytes.Equal(served, pair.Leaf().Raw) {
		t.Error("the edge does not serve what was imported")
	}

	if err := client.DeleteCustomCertificate(ctx, appName, hostname); err != nil {
		t.Fatal(err)
	}
	if answer, err := client.GetCertificate(ctx, appName, hostname); err != nil || len(answer.Certificates) != 0 {
		t.Errorf("after the removal of the custom certificate: %+v, %v: the hostname stays", answer, err)
	}
	if len(forbidden) != 0 {
		t.Errorf("forbidden calls: %q", forbidden)
	}
	if err := client.DeleteCertificate(ctx, appName, hostname); err != nil {
		t.Fatal(err)
	}
	if _, err := client.GetCertificate(ctx, appName, hostname); !errors.Is(err, flaps.ErrFlapsNotFound) {
		t.Errorf("after the removal of the hostname: %v, want 404", err)
	}
	if want := []string{"DELETE /v1/apps/example-web/certificates/*.example.com"}; !slices.Equal(forbidden, want) {
		t.Errorf("forbidden calls: %q, want %q", forbidden, want)
	}
	if writes := server.Writes(); writes != 3 {
		t.Errorf("%d writes were counted, want 3", writes)
	}
}

// Fly.io's own certificate lives beside ours, and is served when ours is not.
func TestOwnCertificateBesideOurs(t *testing.T) {
	server := start(t, flytest.Options{})
	client := client(t, server)
	own, ours := issue(t, certs.Options{}), issue(t, certs.Options{})
	if err := server.AddOwn(appName, "example.com", own.ChainPEM, own.KeyPEM); err != nil {
		t.Fatal(err)
	}
	imported(t, client, "example.com", ours)
	if served := handshake(t, server, "example.com"); !bytes.Equal(served, own.Leaf().Raw) {
		t.Error("without proven ownership Fly.io's own certificate is served")
	}
	server.PointDNS(appName, "example.com")
	if served := handshake(t, server, "example.com"); !bytes.Equal(served, ours.Leaf().Raw) {
		t.Error("with proven ownership the custom certificate is served first")
	}
	answer, err := client.GetCertificate(t.Context(), appName, "example.com")
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, certificate := range answer.Certificates {
		sources = append(sources, certificate.Source)
	}
	if want := []string{"custom", "fly"}; !slices.Equal(sources, want) {
		t.Errorf("sources are %q, want %q", sources, want)
	}
	if err := client.DeleteACMECertificate(t.Context(), appName, "example.com"); err != nil {
		t.Fatal(err)
	}
	if server.HasOwn(appName, "example.com") {
		t.Error("Fly.io's own certificate is still there")
	}
}

func TestListingIsPaged(t *testing.T) {
	server := start(t, flytest.Options{})
	client := client(t, server)
	var want []string
	for i := range 60 {
		hostname := fmt.Sprintf("h%02d.example.com", i)
		want = append(want, hostname)
		if _, err := client.CreateACMECertificate(t.Context(), appName, fly.CreateCertificateRequest{Hostname: hostname}); err != nil {
			t.Fatal(err)
		}
	}
	for limit, pages := range map[int]int{0: 3, 7: 9, 30: 2, 60: 1, 500: 1} {
		var got []string
		var asked int
		for cursor := ""; asked == 0 || cursor != ""; asked++ {
			page, err := client.ListCertificates(t.Context(), appName, &flaps.ListCertificatesOpts{Limit: limit, Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			if page.TotalCount != len(want) {
				t.Errorf("total_count is %d, want %d", page.TotalCount, len(want))
			}
			for _, summary := range page.Certificates {
				got = append(got, summary.Hostname)
			}
			cursor = page.NextCursor
		}
		if diff := cmp.Diff(want, got); diff != "" || asked != pages {
			t.Errorf("limit %d: %d pages, want %d; %s", limit, asked, pages, diff)
		}
	}
	page, err := client.ListCertificates(t.Context(), appName, &flaps.ListCertificatesOpts{Filter: "h1"})
	if err != nil || page.TotalCount != 10 {
		t.Errorf("filtered: %+v, %v", page, err)
	}
}

// The JSON of the stand-in has no field that fly-go's types do not know, and none
// of theirs is missing that the documentation shows.
func TestAnswersFitTheClientsTypes(t *testing.T) {
	server := start(t, flytest.Options{})
	pair := issue(t, certs.Options{})
	imported(t, client(t, server), "example.com", pair)
	if err := server.AddOwn(appName, "example.com", pair.ChainPEM, pair.KeyPEM); err != nil {
		t.Fatal(err)
	}
	for path, into := range map[string]any{
		"/v1/apps/example-web/certificates":             new(fly.ListCertificatesResponse),
		"/v1/apps/example-web/certificates/example.com": new(fly.CertificateDetailResponse),
	} {
		decoder := json.NewDecoder(bytes.NewReader(fetch(t, server.URL+path)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLooksUpTheOwnershipRecord(t *testing.T) {
	var asked []string
	var value string
	server := start(t, flytest.Options{TXT: func(name string) ([]string, error) {
		asked = append(asked, name)
		return []string{"something else", value}, nil
	}})
	client := client(t, server)
	answer := imported(t, client, "example.com", issue(t, certs.Options{}))
	if answer.Status != "pending_ownership" {
		t.Errorf("without the record: %s", answer.Status)
	}
	value = answer.DNSRequirements.Ownership.AppValue
	answer, err := client.GetCertificate(t.Context(), appName, "example.com")
	if err != nil || answer.Status != "active" {
		t.Errorf("with the record: %+v, %v", answer, err)
	}
	if want := []string{"_fly-ownership.example.com", "_fly-ownership.example.com"}; !slices.Equal(asked, want) {
		t.Errorf("looked up %q, want %q", asked, want)
	}
}

func TestFaults(t *testing.T) {
	server := start(t, flytest.Options{})
	client := client(t, server)
	pair := issue(t, certs.Options{})
	request := fly.ImportCertificateRequest{Hostname: "example.com", Fullchain: string(pair.ChainPEM), PrivateKey: string(pair.KeyPEM)}
	status := func() int {
		var answer *flaps.FlapsError
		if _, err := client.CreateCustomCertificate(t.Context(), appName, request); errors.As(err, &answer) {
			return answer.ResponseStatusCode
		}
		return http.StatusCreated
	}
	server.FailWrite(2, http.StatusInternalServerError)
	if got, want := []int{status(), status(), status()}, []int{201, 500, 201}; !slices.Equal(got, want) {
		t.Errorf("the second of three writes is to fail: %v, want %v", got, want)
	}
	// A listing, since flaps' retries of requests with a body lose it now and then.
	server.FailAll(http.StatusServiceUnavailable)
	if _, err := client.ListCertificates(t.Context(), appName, nil); !errors.Is(err, &flaps.FlapsError{ResponseStatusCode: 503}) || server.Requests("list") != 4 {
		t.Errorf("%v after %d requests, want 503 after 4", err, server.Requests("list"))
	}
	server.FailAll(0)

	server.Echo(true)
	request.Hostname = "example.net"
	var answer *flaps.FlapsError
	_, err := client.CreateCustomCertificate(t.Context(), appName, request)
	if !errors.As(err, &answer) || !bytes.Contains(answer.ResponseBody, []byte("BEGIN PRIVATE KEY")) {
		t.Errorf("an echoing server must repeat the request: %v", err)
	}

	server.Hang(true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := client.ListCertificates(ctx, appName, nil); done <- err }()
	select {
	case err := <-done:
		t.Errorf("a hanging server answered: %v", err)
	default:
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a hanging server answered without an error")
	}
}

// handshake returns the leaf that the edge serves for a name, or nil.
func handshake(t *testing.T, server *flytest.Server, name string) []byte {
	t.Helper()
	connection, err := tls.Dial("tcp", server.Edge, &tls.Config{ServerName: name, InsecureSkipVerify: true}) // only looked at
	if err != nil {
		return nil
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0].Raw
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "FlyV1 "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return body
}
