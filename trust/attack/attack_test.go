package attack

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
	"redflag/p2p"
	"redflag/trust"
	"redflag/trust/pki"
	"redflag/trust/trusttest"
)

// attackCase is one row. do changes the world after 1.0.0 was installed; then
// the agent starts and is told to install 2.0.0.
type attackCase struct {
	name   string
	do     func(*world)
	class  string // of the incident that the agent reports for the audit log
	detail string // what it says
}

func evil() trust.Target {
	return trusttest.Target("app", "2.0.0", "app.bin", []byte("evil 2.0.0"), strings.Repeat("0", 40), 1<<18)
}

func (w *world) genuine() { w.publish("2.0.0", []byte("genuine 2.0.0")) }

// answer takes the place of every metadata file.
func (w *world) answer(stream func(http.ResponseWriter)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stream = stream
}

// replace serves bytes in the place of a file.
func (w *world) replace(name string, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fetch = func(asked string) ([]byte, bool) { return data, asked == name }
}

var metadataAttacks = []attackCase{
	{"rollback: older timestamp", func(w *world) { w.repo.RollBackTo(1) }, "verify", "older"},
	{"rollback: older snapshot", func(w *world) {
		trusttest.SignOnline(w.repo, "timestamp.json", func(s *metadata.TimestampType) {
			s.Version++
			s.Meta["snapshot.json"] = &metadata.MetaFiles{Version: 1}
		})
	}, "verify", "older"},
	{"rollback: older targets", func(w *world) {
		w.repo.Put("3.snapshot.json", w.repo.File("2.snapshot.json"))
		trusttest.SignOnline(w.repo, "3.snapshot.json", func(s *metadata.SnapshotType) {
			s.Version, s.Meta["targets.json"].Version = 3, 1
		})
		trusttest.SignOnline(w.repo, "timestamp.json", func(s *metadata.TimestampType) {
			s.Version++
			s.Meta["snapshot.json"] = &metadata.MetaFiles{Version: 3}
		})
	}, "verify", "older"},
	{"rollback: a target removed", func(w *world) {}, "verify", "no such target"},
	{"freeze: old metadata for ever", func(w *world) {
		w.repo.Advance(-8 * 24 * time.Hour)
		w.genuine()
	}, "verify", "validity has ended"},
	{"fast-forward: versions at the end", func(w *world) {
		w.repo.Forge(evil())
		trusttest.SignOnline(w.repo, "timestamp.json", func(s *metadata.TimestampType) { s.Version = math.MaxInt64 })
	}, "verify", "not signed"},
	{"mix and match: old targets as new", func(w *world) {
		w.genuine()
		w.repo.Put("3.targets.json", w.repo.File("2.targets.json"))
	}, "verify", "wrong hash"},
	{"mix and match: old snapshot as new", func(w *world) {
		w.genuine()
		w.repo.Put("3.snapshot.json", w.repo.File("2.snapshot.json"))
	}, "verify", "wrong hash"},
	{"key compromise: timestamp and snapshot only", func(w *world) { w.repo.Forge(evil()) }, "verify", "not signed"},
	{"key compromise: 1 of 2", func(w *world) { w.repo.ForgeWith(evil(), trusttest.OneKey) }, "verify", "not signed"},
	{"key compromise: a revoked key", func(w *world) { w.repo.ForgeWith(evil(), trusttest.RevokedKey) }, "verify", "not signed"},
	{"key compromise: duplicate signature", func(w *world) { w.repo.ForgeWith(evil(), trusttest.SameSignatureTwice) }, "verify", "malformed"},
	{"key compromise: duplicate key id", func(w *world) { w.repo.ForgeWith(evil(), trusttest.SameKeyTwice) }, "verify", "not signed"},
	{"key compromise: a delegated key, outside its paths", func(w *world) { w.repo.Delegate("tools", "tools/*", evil()) }, "verify", "no such target"},
	{"endless data: metadata too long by a byte", func(w *world) {
		w.genuine()
		w.replace("timestamp.json", make([]byte, trust.MaxTimestampLength+1))
	}, "verify", "wrong length"},
	{"endless data: metadata without end", func(w *world) {
		w.genuine()
		w.answer(func(rw http.ResponseWriter) {
			for {
				if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		})
	}, "verify", "wrong length"},
	{"slow data: metadata", func(w *world) {
		w.genuine()
		w.patience = 2 * time.Second
		w.answer(func(rw http.ResponseWriter) { drip(rw, []byte("{ ")) })
	}, "withheld", "not available"},
	{"wrong target: another path", func(w *world) {
		t := evil()
		t.Path = "app/9.9.9"
		w.repo.Forge(t)
	}, "verify", "not signed"},
	{"wrong target: other os and arch", func(w *world) {
		t := evil()
		t.Custom.For = &api.TargetFor{OS: []string{"plan9"}}
		w.repo.PublishTarget(t)
	}, "verify", "other machines"},
	{"arbitrary install: rogue node", func(w *world) { w.repo.Put("timestamp.json", []byte(`{"signed":{},"signatures":[]}`)) }, "verify", "malformed"},
	{"clock in the past: set back behind an expiry", func(w *world) {
		w.repo.Advance(15*time.Minute - 24*time.Hour) // by the machine's clock it holds for a quarter of an hour
		w.genuine()
		bound := fmt.Appendf(nil, `{"not_before":%q}`, time.Now().Add(30*time.Minute).UTC().Format(time.RFC3339))
		require.NoError(w.t, os.WriteFile(filepath.Join(w.dataDir, "clock.json"), bound, 0o600))
	}, "verify", "validity has ended"},
	{"crash between metadata writes", func(w *world) {
		w.repo.Forge(evil())
		for _, name := range []string{"timestamp.json", "snapshot.json"} {
			require.NoError(w.t, os.WriteFile(filepath.Join(w.dataDir, "trust", name), []byte("{"), 0o600))
		}
	}, "verify", "not signed"},
}

var orderAttacks = []attackCase{
	{"wrong target: another agent's command", func(w *world) {
		w.genuine()
		w.resign(func(c *api.Command) { c.AgentID = "a2" })
	}, "order", "for agent"},
	{"arbitrary install: unsigned command", func(w *world) {
		w.genuine()
		w.forge = func(c *api.Command) { c.Order = nil }
	}, "order", "not signed"},
	{"arbitrary install: a command changed on the way", func(w *world) {
		w.genuine()
		w.forge = func(c *api.Command) {
			c.Order.Payload = []byte(strings.Replace(string(c.Order.Payload), "install", "rollback", 1))
		}
	}, "order", "signature is wrong"},
	{"arbitrary install: an agent gives orders", func(w *world) {
		w.genuine()
		thief := w.member(pki.RoleAgent, "a9", "eu")
		w.forge = func(c *api.Command) { c.Order = forgeOrder(w, *c, thief) }
	}, "order", "may not give orders"},
	{"arbitrary install: a stranger gives orders", func(w *world) {
		w.genuine()
		_, key, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(w.t, err)
		w.forge = func(c *api.Command) {
			c.Order.Signature = ed25519.Sign(key, append([]byte("redflag-order/1\x00"), c.Order.Payload...))
		}
	}, "order", "signature is wrong"},
	{"arbitrary install: queue-only compromise", func(w *world) {
		// The queue has a payload and a command for it. The operator has signed
		// neither.
		evil := []byte("evil 2.0.0")
		torrent, err := p2p.MakeTorrent(bytes.NewReader(evil), int64(len(evil)))
		require.NoError(w.t, err)
		w.seed(torrent, evil)
	}, "verify", "no such target"},
	{"replay: an order from before a restart", func(w *world) {
		w.genuine()
		stop := w.start()
		w.order("ca", "2.0.0")
		w.carried("ca")
		w.command(api.Command{ID: "cb:a1", RolloutID: "cb", Kind: api.KindRollback})
		w.carried("cb")
		w.until("the reports are settled", func() bool { return w.settled() })
		w.kill(stop)
		w.forge = func(c *api.Command) { c.Order = w.seen["ca:a1"] }
	}, "replay", "has ended and was reported"},
	{"replay: an order of last week", func(w *world) {
		w.genuine()
		w.forge = func(c *api.Command) {
			order, err := w.node.SignOrder(*c, time.Now().Add(-7*24*time.Hour))
			require.NoError(w.t, err)
			c.Order = order
		}
	}, "order", "it held until"},
	{"clock in the future: an order of tomorrow", func(w *world) {
		w.genuine()
		w.forge = func(c *api.Command) {
			order, err := w.node.SignOrder(*c, time.Now().Add(24*time.Hour))
			require.NoError(w.t, err)
			c.Order = order
		}
	}, "order", "it holds from"},
}

// forgeOrder is an order with the certificate of a member who may give none.
func forgeOrder(w *world, c api.Command, by *pki.Credentials) *api.Order {
	order, err := w.node.SignOrder(c, time.Now())
	require.NoError(w.t, err)
	order.Certificate = by.CertificatePEM()
	return order
}

// resign signs another command than the one that is addressed.
func (w *world) resign(change func(*api.Command)) {
	w.forge = func(c *api.Command) {
		other := *c
		change(&other)
		order, err := w.node.SignOrder(other, time.Now())
		require.NoError(w.t, err)
		c.Order = order
	}
}

var payloadAttacks = []attackCase{
	{"wrong target: payload of another hash", func(w *world) {
		w.publishAs("2.0.0", []byte("genuine 2.0.0"), []byte("GENUINE 2.0.0"))
	}, "verify", "wrong hash"},
	{"arbitrary install: a poisoned piece", func(w *world) {
		w.poison("2.0.0", bytes.Repeat([]byte("genuine 2.0.0 "), 1000))
	}, "piece", "not what was signed"},
	{"endless data: payload", func(w *world) {
		w.patience = 2 * time.Second
		w.publishAs("2.0.0", []byte("genuine 2.0.0"), bytes.Repeat([]byte("endless "), 1<<20))
	}, "withheld", "nothing came"},
	{"endless data: payload longer by a byte", func(w *world) {
		w.publishAs("2.0.0", []byte("genuine 2.0.0"), []byte("genuine 2.0.0!"))
	}, "verify", "expected dimensions"},
	{"slow data: payload", func(w *world) {
		w.patience = 2 * time.Second
		w.dribble("2.0.0", []byte("genuine 2.0.0"))
	}, "withheld", "nothing came"},
}

// TestAttackMatrix runs a real agent against each attack from each place that it
// can come from. Each ends with the old version running, and with an incident
// that the agent has reported. A real node then takes these reports: the table
// says audited where its audit log has the incident.
func TestAttackMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about a minute")
	}
	base := honest(t)
	var mu sync.Mutex
	table := map[string]map[string]api.Incident{} // by row and column
	t.Run("attacks", func(t *testing.T) {
		run := func(column, region string, fromPeer bool, cases []attackCase) {
			for _, tc := range cases {
				t.Run(column+"/"+tc.name, func(t *testing.T) {
					t.Parallel()
					incident := base.attack(t, region, fromPeer, tc)
					mu.Lock()
					defer mu.Unlock()
					if table[tc.name] == nil {
						table[tc.name] = map[string]api.Incident{}
					}
					table[tc.name][column] = incident
				})
			}
		}
		all := slices.Concat(metadataAttacks, orderAttacks, payloadAttacks)
		run("node", "eu", false, all)
		run("other region", "us", false, all)
		run("peer", "eu", true, payloadAttacks)
	})
	printTable(t, table, audited(t, table))
}

// attack returns what the agent told the node.
func (w *world) attack(t *testing.T, region string, fromPeer bool, tc attackCase) api.Incident {
	t.Helper()
	c := w.copy(t, region)
	c.fromPeer = fromPeer
	defer c.diagnose()
	tc.do(c)
	stop := c.start()
	c.order("c2", "2.0.0")
	var incident api.Incident
	c.until("the attack is noticed", func() (ok bool) { incident, ok = c.incident(); return ok })
	stop()
	require.Equal(t, "genuine 1.0.0", c.running(), "the old version runs")
	require.Equal(t, tc.class, incident.Class, incident.Detail)
	require.Contains(t, incident.Detail, tc.detail)
	require.NotEqual(t, api.StateSucceeded, c.reported("c2"))
	return incident
}

func printTable(t *testing.T, table map[string]map[string]api.Incident, audited map[string]bool) {
	t.Helper()
	t.Logf("%-48s %-22s %-22s %s", "ATTACK", "FROM A NODE", "FROM ANOTHER REGION", "FROM A PEER")
	for _, tc := range slices.Concat(metadataAttacks, orderAttacks, payloadAttacks) {
		cell := func(column string) string {
			switch _, ran := table[tc.name][column]; {
			case !ran:
				return "-"
			case audited[tc.name+column]:
				return "old version, audited"
			default:
				t.Errorf("%s from %s is not in the audit log", tc.name, column)
				return "NOT AUDITED"
			}
		}
		t.Logf("%-48s %-22s %-22s %s", tc.name, cell("node"), cell("other region"), cell("peer"))
	}
}
