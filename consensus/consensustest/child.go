//go:build unix

package consensustest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/consensus"
	"redflag/consensus/state"
)

// childEnv holds a childConfig in a process that is to be a node.
const childEnv = "REDFLAG_CONSENSUS_NODE"

type childConfig struct {
	ID      string
	Dir     string // shared by all nodes of the cluster
	Host    string // address to listen on
	Timeout time.Duration
	NoHint  bool // a dead leader is found by the timeout alone
}

func (c childConfig) control() string { return filepath.Join(c.Dir, c.ID+".sock") }

// addressFile holds where a node listens, for Raft and for forwarded proposals.
func (c childConfig) addressFile(id, kind string) string {
	return filepath.Join(c.Dir, id+"."+kind)
}

// Request is what a client asks of a node: one of its fields is set.
type Request struct {
	Bootstrap bool                   `cbor:"1,keyasint,omitempty"`
	Join      string                 `cbor:"2,keyasint,omitempty"`
	Transfer  bool                   `cbor:"3,keyasint,omitempty"`
	Token     *state.CreateToken     `cbor:"4,keyasint,omitempty"`
	Enrol     *state.EnrolAgent      `cbor:"5,keyasint,omitempty"`
	Publish   *state.PublishArtifact `cbor:"6,keyasint,omitempty"`
	Rollout   *state.CreateRollout   `cbor:"7,keyasint,omitempty"`
	Lease     *state.Lease           `cbor:"8,keyasint,omitempty"`
	Reports   *state.Reports         `cbor:"9,keyasint,omitempty"`
	Tick      bool                   `cbor:"10,keyasint,omitempty"`
	Commands  []string               `cbor:"11,keyasint,omitempty"` // to be read
}

// Response is a node's answer to a Request.
type Response struct {
	Result   state.Result     `cbor:"1,keyasint"`
	Error    *api.Error       `cbor:"2,keyasint,omitempty"`
	Status   consensus.Status `cbor:"3,keyasint"`
	Commands []api.Command    `cbor:"4,keyasint,omitempty"`
}

// RunChild turns this process into a node if it was started to be one, and then
// never returns. TestMain of a package that uses Processes calls it first.
func RunChild() {
	raw, ok := os.LookupEnv(childEnv)
	if !ok {
		return
	}
	var cfg childConfig
	err := json.Unmarshal([]byte(raw), &cfg)
	if err == nil {
		err = runChild(cfg)
	}
	fmt.Fprintln(os.Stderr, "node ended:", err)
	os.Exit(1)
}

func runChild(cfg childConfig) error {
	raftLn, err := listenAs(cfg, "raft")
	if err != nil {
		return err
	}
	forwardLn, err := listenAs(cfg, "forward")
	if err != nil {
		return err
	}
	dial := cfg.dial
	if cfg.NoHint {
		dial = func(ctx context.Context, id, addr string) (net.Conn, error) {
			conn, err := cfg.dial(ctx, id, addr)
			if err != nil {
				return nil, errors.New(err.Error()) // which hides that the port refused
			}
			return conn, nil
		}
	}
	node, err := consensus.Open(consensus.Config{
		NodeID: cfg.ID, Addr: cfg.ID, Dir: filepath.Join(cfg.Dir, cfg.ID), Listener: named{raftLn, cfg.ID},
		Dial: dial, Forward: cfg.forward, Timeout: cfg.Timeout,
		Logger: hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Info, Name: cfg.ID}),
	})
	if err != nil {
		return err
	}
	_ = os.Remove(cfg.control())
	var lc net.ListenConfig
	controlLn, err := lc.Listen(context.Background(), "unix", cfg.control())
	if err != nil {
		return err
	}
	ended := make(chan error, 4)
	go func() { ended <- http.Serve(forwardLn, forwardHandler(node)) }() //nolint:gosec // of a test's own peers
	go func() { ended <- http.Serve(controlLn, controlHandler(node)) }() //nolint:gosec // of a test's own client
	go func() {                                                          // the test holds the other end
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- errors.Join(errors.New("the test is gone"), err)
	}()
	select {
	case err = <-ended:
	case err = <-node.Failed():
	}
	return err
}

func listenAs(cfg childConfig, kind string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort(cfg.Host, "0"))
	if err != nil {
		return nil, err
	}
	path := cfg.addressFile(cfg.ID, kind)
	if err := os.WriteFile(path+".new", []byte(ln.Addr().String()), 0o600); err != nil {
		return nil, err
	}
	return ln, os.Rename(path+".new", path)
}

// dial connects to a node's Raft listener and says whom it wants there.
func (c childConfig) dial(ctx context.Context, id, _ string) (net.Conn, error) {
	addr, err := os.ReadFile(c.addressFile(id, "raft"))
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", string(addr))
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, id+"\n"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// named is a listener that ends connections meant for another node.
type named struct {
	net.Listener
	id string
}

// Accept implements net.Listener.
func (l named) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &greeted{Conn: conn, in: bufio.NewReader(conn), id: l.id}, nil
}

// greeted is a connection whose first line says whom it is for.
type greeted struct {
	net.Conn
	in   *bufio.Reader
	id   string
	done bool
}

// Read implements net.Conn.
func (c *greeted) Read(b []byte) (int, error) {
	if !c.done {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if strings.TrimSpace(line) != c.id {
			return 0, errors.Join(fmt.Errorf("this is node %s", c.id), c.Close())
		}
		c.done = true
	}
	return c.in.Read(b)
}

// forward carries a proposal to the leader. An exchange that never reached it
// is told apart from one whose answer is lost.
func (c childConfig) forward(ctx context.Context, leader, _ string, body []byte) ([]byte, error) {
	addr, err := os.ReadFile(c.addressFile(leader, "forward"))
	if err != nil {
		return nil, api.Errorf(api.CodeUnavailable, "%v", err)
	}
	return post(ctx, http.DefaultClient, "http://"+string(addr)+"/", body)
}

func post(ctx context.Context, client *http.Client, url string, body []byte) (_ []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, api.Errorf(api.CodeUnavailable, "%v", err)
		}
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	return io.ReadAll(io.LimitReader(resp.Body, 8<<20))
}

func forwardHandler(node *consensus.Cluster) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			body, err = node.HandleForward(r.Context(), body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(body)
	})
}

func controlHandler(node *consensus.Cluster) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req Request
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = cbor.Unmarshal(body, &req)
		}
		resp := Response{}
		if err == nil {
			resp.Result, err = req.do(r.Context(), node)
		}
		if err != nil {
			resp.Error = asError(err)
		}
		for _, id := range req.Commands {
			c, _ := node.State().Command(id)
			resp.Commands = append(resp.Commands, c)
		}
		resp.Status = node.Status()
		out, err := cbor.Marshal(resp)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(out)
	})
}

func asError(err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	return api.Errorf(api.CodeInternal, "%v", err)
}

func (r *Request) do(ctx context.Context, node *consensus.Cluster) (state.Result, error) {
	switch {
	case r.Bootstrap:
		return state.Result{}, node.Bootstrap()
	case r.Join != "":
		return state.Result{}, node.Join(ctx, r.Join, r.Join)
	case r.Transfer:
		return state.Result{}, node.TransferLeadership(ctx, "")
	case r.Token != nil:
		return node.Propose(ctx, state.TypeCreateToken, r.Token)
	case r.Enrol != nil:
		return node.Propose(ctx, state.TypeEnrolAgent, r.Enrol)
	case r.Publish != nil:
		return node.Propose(ctx, state.TypePublishArtifact, r.Publish)
	case r.Rollout != nil:
		return node.Propose(ctx, state.TypeCreateRollout, r.Rollout)
	case r.Lease != nil:
		return node.Propose(ctx, state.TypeLease, r.Lease)
	case r.Reports != nil:
		return node.Propose(ctx, state.TypeReports, r.Reports)
	case r.Tick:
		return node.Propose(ctx, state.TypeTick, state.Tick{})
	}
	return state.Result{}, nil // a look at the status
}
