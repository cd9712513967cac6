package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"redflag/api"
	"redflag/trust/pki"
)

const (
	retryBase  = time.Second
	retryLimit = time.Minute
)

// agent is one light agent. One worker at a time has it.
type agent struct {
	p           *profile
	id          string
	seed        [ed25519.SeedSize]byte // of its key
	certificate []byte                 // of a member, DER
	roots       *x509.CertPool
	session     session
	link        link

	due   time.Time
	tries int // polls in a row that failed

	trust    api.TrustSeen
	settings uint64
	index    uint64
	runs     []job
	outbox   []api.Report
	ended    map[string]bool // command ids that were run
	reported int
}

// job is a command in the agent's hands.
type job struct {
	command api.Command
	ends    time.Time
}

// enrol makes the agent a member.
func (a *agent) enrol(ctx context.Context, token pki.RegistrationToken, stranger *tls.Config) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	csr, err := pki.NewCSR(key)
	if err != nil {
		return err
	}
	a.seed = [ed25519.SeedSize]byte(key.Seed())
	req := api.EnrolAgentRequest{TokenID: token.ID, Secret: token.Secret, AgentID: a.id, Region: a.p.region, CSR: csr}
	var resp api.EnrolAgentResponse
	a.link.conf = func() *tls.Config { return stranger }
	if _, err := a.link.post(ctx, "/v1/enrol/agent", req, &resp); err != nil {
		return fmt.Errorf("enrol %s: %w", a.id, err)
	}
	a.link.close()
	block, _ := pem.Decode(resp.Certificate)
	if block == nil {
		return fmt.Errorf("the certificate of %s is not PEM", a.id)
	}
	a.certificate, a.roots = block.Bytes, a.p.believed.pool(resp.Authorities)
	a.link.conf = a.tls
	return nil
}

// tls is made for each connection, and the key only where one asks for it: kept,
// they would be much of what an agent takes.
func (a *agent) tls() *tls.Config {
	conf := &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: a.roots, ServerName: pki.NodeServerName, NextProtos: []string{pki.ALPNHTTP},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{a.certificate}, PrivateKey: ed25519.NewKeyFromSeed(a.seed[:])}, nil
		},
	}
	if a.p.resume {
		conf.ClientSessionCache = &a.session
	} else {
		conf.SessionTicketsDisabled = true
	}
	return conf
}

// session is the one TLS session that an agent can resume.
type session struct{ last *tls.ClientSessionState }

func (s *session) Get(string) (*tls.ClientSessionState, bool) { return s.last, s.last != nil }

func (s *session) Put(_ string, next *tls.ClientSessionState) { s.last = next }

// poll makes one exchange and sets when the next one is due.
func (a *agent) poll(ctx context.Context) (seen exchange, err error) {
	a.work(time.Now())
	req := a.request()
	var resp api.PollResponse
	seen, err = a.link.post(ctx, "/v1/agents/"+a.id+"/poll", req, &resp)
	if err == nil && rand.Float64()*100 < a.p.lose {
		err = errLost
	}
	if err != nil {
		a.tries++
		wait := time.Duration(rand.Int64N(int64(min(retryBase<<min(a.tries, 10), retryLimit))))
		a.due = time.Now().Add(max(wait, retryAfter(err)))
		return seen, err
	}
	a.tries = 0
	a.outbox = a.outbox[min(len(a.outbox), len(req.Reports)):] // taken, or refused for good
	a.absorb(&resp)
	if len(resp.Rejected) > 0 {
		return seen, resp.Rejected[0].Error
	}
	return seen, nil
}

func (a *agent) request() *api.PollRequest {
	req := &api.PollRequest{
		AgentVersion: "fleet", Activity: api.ActivityIdle, LastIndex: a.index, SettingsVersion: a.settings, Trust: a.trust,
		Reports: a.outbox[:min(len(a.outbox), api.MaxReports)],
	}
	for _, j := range a.runs {
		req.Activity = api.ActivityInstalling
		req.Held = append(req.Held, j.command.ID)
	}
	return req
}

// absorb takes in what the node said.
func (a *agent) absorb(resp *api.PollResponse) {
	a.index = max(a.index, resp.Index)
	if resp.Settings != nil {
		a.settings = resp.Settings.Version
	}
	if t := resp.Trust; t != nil {
		a.trust.Authorities = max(a.trust.Authorities, t.AuthoritiesVersion)
		a.trust.Revoked = max(a.trust.Revoked, t.RevokedVersion)
	}
	now := time.Now()
	a.due = now.Add(time.Duration(resp.NextPoll))
	for _, c := range resp.Commands {
		if a.ended[c.ID] {
			continue // it was handed out again: an answer got lost
		}
		if a.ended == nil {
			a.ended = map[string]bool{}
		}
		a.ended[c.ID] = true
		a.runs = append(a.runs, job{c, now.Add(a.p.work)})
		a.report(c.ID, api.StateRunning, nil)
	}
	if len(a.runs) > 0 {
		a.due = minTime(a.due, a.runs[0].ends)
	}
	if len(a.outbox) > 0 {
		a.due = now.Add(200 * time.Millisecond)
	}
}

// work ends the commands whose time has come.
func (a *agent) work(now time.Time) {
	for len(a.runs) > 0 && !now.Before(a.runs[0].ends) {
		id := a.runs[0].command.ID
		a.runs = a.runs[1:]
		if rand.Float64()*100 < a.p.fail {
			a.report(id, api.StateFailed, &api.Failure{Class: api.ErrorInstall, Message: "the fleet was told to fail"})
			continue
		}
		a.report(id, api.StateSucceeded, nil)
	}
}

func (a *agent) report(command string, s api.State, f *api.Failure) {
	a.reported++
	a.outbox = append(a.outbox, api.Report{
		ID: fmt.Sprintf("%s-%d", a.id, a.reported), CommandID: command, State: s, At: time.Now().UTC(), Failure: f,
	})
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// loopback reports whether a node is on this machine, by its IPv4 address.
func loopback(node string) bool {
	host, _, _ := net.SplitHostPort(node)
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() && ip.To4() != nil
}

// localAddr spreads the agents of a loopback test over 127.0.0.0/8: one
// address has too few ports for them.
func localAddr(i int) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, byte(1+i>>16), byte(i>>8), byte(i))}
}
