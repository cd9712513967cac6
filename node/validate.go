package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/trust/pki"
)

// ValidateConfig checks what a node would be started with, without starting
// it: the configuration, the data directory, the identity, the ports, and what
// the cluster asks of its voters. It changes nothing on disk.
func ValidateConfig(ctx context.Context, cfg Config) []api.Check {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	n, err := New(cfg)
	if err != nil {
		return []api.Check{checkOf("configuration", critical(err.Error(), "mend the flag and try again"))}
	}
	checks := []api.Check{
		checkOf("configuration", ok("flags are well formed")),
		checkOf("data directory", n.validateDir()),
		checkOf("identity", n.validateIdentity()),
	}
	for _, l := range []struct{ name, addr string }{{"mesh port", cfg.MeshListen}, {"api port", cfg.APIListen}, {"plain port", cfg.PlainListen}} {
		if l.addr != "" {
			checks = append(checks, checkOf(l.name, validatePort(ctx, l.addr)))
		}
	}
	return append(checks, checkOf("cluster", n.validateTerms(ctx)))
}

func checkOf(name string, f finding) api.Check {
	return api.Check{Name: name, Status: f.status, Detail: f.detail, Advice: f.advice}
}

// validateDir asks the deepest folder of the path that exists.
func (n *Node) validateDir() finding {
	dir := n.cfg.DataDir
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return critical(dir+" is not a folder", "name another with --data-dir")
		}
		if err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if !os.IsNotExist(err) || parent == dir {
			return critical(err.Error(), "name another with --data-dir, or run as the user that owns it")
		}
		dir = parent
	}
	free, _, err := diskSpace(dir)
	if err != nil {
		return warn("free space cannot be read: "+err.Error(), "check the file system")
	}
	if free < minDiskFree {
		return critical(api.Bytes(free).String()+" free", "free disk, or name another folder with --data-dir")
	}
	return ok(api.Bytes(free).String() + " free in " + dir)
}

func (n *Node) validateIdentity() finding {
	creds, err := pki.LoadCredentials(n.path("identity"))
	if err != nil {
		if len(n.cfg.Join) > 0 && n.cfg.JoinToken == "" {
			return critical("not a node yet, and there is no token to join with", "redflag token create --kind node; pass it with --token")
		}
		return ok("not a node yet: it will join, or found a cluster")
	}
	if id := creds.Identity(); id.ID != n.cfg.ID || id.Region != n.cfg.Region {
		return critical(fmt.Sprintf("%s belongs to node %s in region %s", n.cfg.DataDir, id.ID, id.Region),
			fmt.Sprintf("start it with --id %s --region %s, or use an empty --data-dir", id.ID, id.Region))
	}
	if info, err := os.Stat(n.path("identity", "sealing.key")); err != nil || info.Mode().Perm()&fs.FileMode(0o077) != 0 {
		return critical("the sealing key is missing, or others may read it", "restore it from a backup; chmod 600")
	}
	end, err := n.certificateEnd()
	if err != nil {
		return critical("the certificate cannot be read: "+err.Error(), "restore the identity folder from a backup")
	}
	if !n.cfg.Clock().Before(end) {
		return critical("the certificate expired on "+end.Format(time.DateOnly), "enrol again with a new token")
	}
	return ok("node " + n.cfg.ID + " until " + end.Format(time.DateOnly))
}

func (n *Node) certificateEnd() (time.Time, error) {
	b, err := os.ReadFile(n.path("identity", "cert.pem"))
	if err != nil {
		return time.Time{}, err
	}
	return certificateEnd(b)
}

func validatePort(ctx context.Context, addr string) finding {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return warn(err.Error(), "if it is this very node that runs there, all is well; else choose another port")
	}
	_ = ln.Close()
	return ok(addr + " is free")
}

// validateTerms asks the cluster, with this node's own certificate.
func (n *Node) validateTerms(ctx context.Context) finding {
	creds, err := pki.LoadCredentials(n.path("identity"))
	if err != nil {
		return ok("nothing to compare with before the node has joined")
	}
	n.creds = creds
	n.meshHTTP = &http.Client{Timeout: meshCallTimeout, Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: creds.NodeClientTLS(pki.ALPNHTTP)}).DialContext(ctx, network, addr)
		},
		DisableKeepAlives: true,
	}}
	if err := n.mayVote(ctx); err != nil {
		e := n.public(ctx, err)
		return critical(e.Message, e.Hint)
	}
	return ok("nothing contradicts what the cluster asks of voters")
}
