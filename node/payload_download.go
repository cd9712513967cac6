package node

import (
	"fmt"
	"io"
	"net/http"

	"redflag/api"
)

// downloadPayload streams a payload that this node has whole, to be carried to
// where no network leads. It is found by its hash; the caller checks it.
func (n *Node) downloadPayload(r *http.Request) (any, error) {
	sum := r.PathValue("sha256")
	for _, a := range n.state().Artifacts() {
		if a.SHA256 != sum {
			continue
		}
		n.payloads.want(a.InfoHash)
		if !n.swarm.Has(a.InfoHash) {
			return nil, api.Errorf(api.CodeUnavailable, "node %s does not have %s %s yet", n.cfg.ID, a.Name, a.Version).
				WithHint("ask another node: --server")
		}
		f, err := n.swarm.Open(a.InfoHash)
		if err != nil {
			return nil, err
		}
		n.auditLater(r, operator(r), r.Pattern, r.URL.Path, fmt.Sprintf("%s %s, %d bytes", a.Name, a.Version, a.Length))
		return stream{name: a.Name + "-" + a.Version, size: a.Length, close: f.Close, write: func(w io.Writer) error {
			_, err := io.Copy(w, f)
			return err
		}}, nil
	}
	return nil, api.Errorf(api.CodeNotFound, "no artifact has SHA-256 %s", sum).WithHint("redflag artifacts")
}
