// Package testenv starts the real parts that anycert is tested against, each
// for the length of one test, on loopback ports that the kernel picks. A part
// that was not built fails the test: run `make rig` once.
//
//	CA, Issue, IssueFrom   certificates of a CA in memory      certs
//	Vault, RaftVault       the real Vault                      vaultserver
//	Kubernetes             the real kube-apiserver and etcd    kubeserver
//	ACME                   Pebble, in process                  acmeserver
//	DNS                    zones and RFC 2136, in process      dnsserver
//	BIND, Knot             the name servers from Debian        nameserver
//	Nginx                  nginx from Debian, and handshakes   nginxserver
//
// Package leak searches output, files and processes for planted keys.
//
// The parts themselves are in the packages named at the right, which do not
// import package testing, so that the demo can start them too. Package parts
// builds and finds the binaries, package process runs them, cmd/rig is the
// command behind `make rig`.
package testenv
