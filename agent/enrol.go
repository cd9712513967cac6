package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"redflag/api"
	"redflag/durable"
	"redflag/telemetry"
	"redflag/trust"
	"redflag/trust/pki"
)

const (
	enrolRetryBase  = time.Second
	enrolRetryLimit = time.Minute
)

// membership returns the machine's credentials, and enrols it first where
// that has not been done.
func (a *Agent) membership(ctx context.Context) (*pki.Credentials, error) {
	dir := filepath.Join(a.cfg.DataDir, "identity")
	creds, err := pki.LoadCredentials(dir)
	if errors.Is(err, pki.ErrNotEnrolled) {
		if err := a.enrol(ctx, dir); err != nil {
			return nil, fmt.Errorf("enrol: %w", err)
		}
		creds, err = pki.LoadCredentials(dir)
	}
	if err != nil {
		return nil, err
	}
	return creds, a.cfg.matches(creds.Identity())
}

// enrolled returns the credentials of a machine that is a member already.
func (a *Agent) enrolled() (*pki.Credentials, error) {
	return pki.LoadCredentials(filepath.Join(a.cfg.DataDir, "identity"))
}

// matches refuses to run under another name than the one that was enrolled.
func (c *Config) matches(id pki.Identity) error {
	if (c.ID == "" || c.ID == id.ID) && (c.Region == "" || c.Region == id.Region) {
		return nil
	}
	return api.Errorf(api.CodeConflict, "%s is enrolled as %s in %s, not as %s in %s", c.DataDir, id.ID, id.Region, c.ID, c.Region).
		WithHint("use the enrolled id and region, or a new --data-dir and token")
}

// enrol makes this machine a member. Everything is checked before the token
// is spent, and the certificate is stored last: it marks the end.
func (a *Agent) enrol(ctx context.Context, dir string) error {
	if err := a.cfg.validateEnrolment(); err != nil {
		return err
	}
	token, err := pki.ParseRegistrationToken(a.cfg.Token)
	if err != nil {
		return err
	}
	pin, root, err := a.cfg.rootPin(token)
	if err != nil {
		return err
	}
	req, err := a.enrolRequest(dir, token)
	if err != nil {
		return err
	}
	resp, err := a.askToEnrol(ctx, token, req)
	if err != nil {
		return err
	}
	if len(resp.Root) > 0 && trust.RootHash(resp.Root) == pin {
		root = resp.Root
	} else if len(resp.Root) > 0 && root == nil {
		return api.Errorf(api.CodeDenied, "the cluster's TUF root has hash %s, the token pins %s", trust.RootHash(resp.Root), pin).
			WithHint("make a new token; if the hash still differs, do not trust this cluster")
	}
	if err := newSignatures(a.cfg.DataDir, nil).pinRoot(pin, root); err != nil {
		return fmt.Errorf("pin root: %w", err)
	}
	if err := (learnt{Nodes: resp.Nodes}).save(a.learntPath()); err != nil {
		return err
	}
	if err := saveLabels(a.cfg.DataDir, resp.Labels); err != nil {
		return err
	}
	if err := pki.SaveCredentials(dir, resp.Certificate, resp.Authorities); err != nil {
		return err
	}
	a.log.Info("agent enrolled", telemetry.KeyAgent, req.AgentID, telemetry.KeyRegion, req.Region, "cluster", resp.ClusterID)
	return nil
}

// rootPin returns the hash that the TUF root must have, and the root itself if
// the operator put it on this machine. Without either a node could say
// anything, so there is no enrolment without a pin.
func (c *Config) rootPin(token pki.RegistrationToken) (pin string, root []byte, err error) {
	if c.RootFile == "" {
		if token.RootHash == "" {
			return "", nil, api.Errorf(api.CodeInvalid, "the token pins no TUF root").
				WithHint("make the token after redflag keys init, or pass --root with the operator's root.json")
		}
		return token.RootHash, nil, nil
	}
	root, err = durable.ReadFile(c.RootFile, trust.MaxRootLength)
	if err != nil {
		return "", nil, api.Errorf(api.CodeInvalid, "read root file: %v", err).WithHint("--root names a TUF root.json")
	}
	if err := trust.CheckRootUpdate(nil, root); err != nil {
		return "", nil, api.Errorf(api.CodeInvalid, "root file %s: %v", c.RootFile, err).WithHint("--root names a TUF root.json")
	}
	pin = trust.RootHash(root)
	if token.RootHash != "" && token.RootHash != pin {
		return "", nil, api.Errorf(api.CodeInvalid, "the root file has hash %s, the token pins %s", pin, token.RootHash).
			WithHint("one of them is from another cluster or out of date")
	}
	return pin, root, nil
}

func (a *Agent) enrolRequest(dir string, token pki.RegistrationToken) (*api.EnrolAgentRequest, error) {
	id, err := a.cfg.enrolmentID()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make identity directory: %w", err)
	}
	key, err := pki.LoadOrCreateKey(filepath.Join(dir, pki.KeyFile))
	if err != nil {
		return nil, err
	}
	csr, err := pki.NewCSR(key)
	if err != nil {
		return nil, err
	}
	return &api.EnrolAgentRequest{
		TokenID: token.ID, Secret: token.Secret, AgentID: id,
		Region: a.cfg.Region, Labels: a.cfg.Labels, CSR: csr, Machine: machineID(),
	}, nil
}

// askToEnrol asks the configured nodes in turn until one answers. A repeat is
// harmless: the same key gets the same answer.
func (a *Agent) askToEnrol(ctx context.Context, token pki.RegistrationToken, req *api.EnrolAgentRequest) (*api.EnrolAgentResponse, error) {
	roots, err := pki.TrustAnchor(token.CA)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots,
		ServerName: pki.NodeServerName, NextProtos: []string{pki.ALPNHTTP},
	}
	nodes := newNodeList(a.cfg.Region, a.cfg.Nodes, nil)
	m := newMesh(nodes, func(string) *tls.Config { return conf }, a.log)
	defer m.close()
	ctx = api.WithCorrelation(ctx, "")
	wait := backoff{base: enrolRetryBase, limit: enrolRetryLimit}
	for {
		resp := &api.EnrolAgentResponse{}
		err := m.each(ctx, anotherMight, func(ctx context.Context, _ api.NodeAddr, c *api.Client) error {
			return c.Do(ctx, http.MethodPost, "/v1/enrol/agent", req, resp)
		})
		if err == nil || !anotherMight(err) {
			return resp, err
		}
		pauseFor := wait.next()
		telemetry.For(ctx, a.log).Warn("enrolment waits for a node", telemetry.KeyError, err, "wait", pauseFor.Round(time.Millisecond).String())
		if !pause(ctx, pauseFor) {
			return nil, ctx.Err()
		}
	}
}
