package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/p2p"
	"redflag/trust"
	"redflag/trust/pki"
)

// swarm opens the agent's part in the swarm when it is first needed: a
// machine that has installed nothing yet listens for nobody.
type swarm struct {
	cfg    *Config
	creds  *pki.Credentials
	limits *limits
	mesh   *mesh
	source *source // for when the swarm is too slow; nil for none
	log    hclog.Logger
	// metered says that bytes cost on the machine's link.
	metered func() bool
	// refused remembers a piece that was not what was signed, and peers that
	// are banned for such.
	refused func(api.Incident)

	mu     sync.Mutex
	opened *p2p.Swarm
	port   int // where it listens
}

func (s *swarm) get(ctx context.Context) (*p2p.Swarm, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != nil {
		return s.opened, nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.SwarmAddr)
	if err != nil {
		return nil, fmt.Errorf("listen for swarm peers: %w", err)
	}
	id := s.creds.Identity()
	opened, err := p2p.New(p2p.Config{
		Dir:        filepath.Join(s.cfg.DataDir, "swarm"),
		Self:       p2p.Peer{ID: id.ID, Region: id.Region},
		Listener:   swarmListener{ln, s.creds.PeerServerTLS(pki.ALPNSwarm)},
		Dial:       dialSwarm(s.creds),
		Identify:   identify,
		Upload:     s.limits.upload,
		Download:   s.limits.download,
		SiteUpload: s.limits.siteUpload, SiteDownload: s.limits.siteDownload,
		Corrupt: s.corrupt, Banned: s.banned, Logger: s.log,
	})
	if err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("open swarm: %w", err)
	}
	s.opened, s.port = opened, ln.Addr().(*net.TCPAddr).Port
	s.log.Info("swarm opened", "port", s.port)
	return opened, nil
}

// corrupt tells who had a hand in a piece that is not what was signed.
func (s *swarm) corrupt(infoHash string, piece int, senders []string) {
	s.refused(api.Incident{
		Class: "piece", Node: strings.Join(senders, " "),
		Detail: fmt.Sprintf("piece %d of %s is not what was signed", piece, infoHash),
	})
}

// banned reports a peer to the audit log.
func (s *swarm) banned(peerID string) {
	s.refused(api.Incident{Class: "peer", Detail: "banned for corrupt data", Node: peerID})
}

// resume gives again what an earlier life of the agent completed.
func (s *swarm) resume(ctx context.Context, installed []string) error {
	if len(installed) == 0 {
		return nil
	}
	sw, err := s.get(ctx)
	if err != nil {
		return err
	}
	return sw.SeedAll(s.announce)
}

func (s *swarm) announce(ctx context.Context, infoHash string, left int64) (api.AnnounceResponse, error) {
	s.mu.Lock()
	port := s.port
	s.mu.Unlock()
	asked := time.Now()
	resp, err := s.mesh.announce(ctx, infoHash, api.AnnounceRequest{Port: port, Left: left})
	if err == nil && resp.Lease != nil {
		s.limits.lease(*resp.Lease, asked)
	}
	return resp, err
}

func (s *swarm) fetch(ctx context.Context, t trust.Target, progress func(api.Transfer)) (api.Transfer, error) {
	sw, err := s.get(ctx)
	if err != nil {
		return api.Transfer{}, err
	}
	spec := p2p.FetchSpec{
		InfoHash: t.Custom.InfoHash, Length: t.Length, PieceLength: t.Custom.PieceLength, Announce: s.announce,
	}
	if s.source != nil {
		spec.Fallback = s.source.fallback()
	}
	return sw.Fetch(ctx, spec, progress)
}

func (s *swarm) open(infoHash string) (io.ReadCloser, error) {
	sw, err := s.get(context.Background())
	if err != nil {
		return nil, err
	}
	return sw.Open(infoHash)
}

func (s *swarm) remove(infoHash string) error {
	sw, err := s.get(context.Background())
	if err != nil {
		return err
	}
	return sw.Remove(infoHash)
}

// unfinishedFor is how long a part of a payload stays that nobody goes on to
// fetch: a command that failed may be repeated.
const unfinishedFor = 24 * time.Hour

func (s *swarm) retain(keep []string) error {
	s.mu.Lock()
	sw := s.opened
	s.mu.Unlock()
	if sw == nil {
		return nil
	}
	var errs []error
	for _, hash := range append(sw.Complete(), sw.Unfinished(time.Now().Add(-unfinishedFor))...) {
		if !slices.Contains(keep, hash) {
			errs = append(errs, sw.Remove(hash))
		}
	}
	return errors.Join(errs...)
}

func (s *swarm) close() error {
	s.mu.Lock()
	sw := s.opened
	s.mu.Unlock()
	if sw == nil {
		return nil
	}
	return sw.Close() // without the lock: a last announce asks for the port
}
