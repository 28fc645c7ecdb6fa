package dns01

import "testing"

func TestWithPort(t *testing.T) {
	tests := map[string]string{
		"192.0.2.53": "192.0.2.53:53", "192.0.2.53:5353": "192.0.2.53:5353", "ns.example.com": "ns.example.com:53",
		"2001:db8::53": "[2001:db8::53]:53", "[2001:db8::53]": "[2001:db8::53]:53", "[2001:db8::53]:5353": "[2001:db8::53]:5353",
		"fe80::1%eth0": "", "": "", ":53": "", "http://192.0.2.53": "", "192.0.2.53:dns": "", "a b": "", "192.0.2.53:70000": "",
	}
	for server, want := range tests {
		if got, err := withPort(server); got != want || (err != nil) != (want == "") {
			t.Errorf("%q becomes %q, %v; want %q", server, got, err, want)
		}
	}
}
