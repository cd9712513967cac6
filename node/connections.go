package node

import (
	"net"
	"net/http"

	"redflag/api"
)

// countConnection keeps count of the open connections of the mesh port.
func (n *Node) countConnection(_ net.Conn, s http.ConnState) {
	if s == http.StateNew {
		n.connections.Add(1)
	}
	if s == http.StateClosed || s == http.StateHijacked {
		n.connections.Add(-1)
	}
}

// uncrowded closes connections after their answer while there are more than
// the node is to hold: an open one costs memory from poll to poll, a new one
// costs the processor a resumed handshake.
func (n *Node) uncrowded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.connections.Load() > n.mostConnections.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// keep sets how many connections stay open from poll to poll: as many as the
// setting says, but a quarter of what the system lets the node open is for
// other nodes, payloads and files.
func (n *Node) keep(setting int64) {
	most := min(setting, openFiles()/4*3)
	if n.mostConnections.Swap(most) != most && most < setting {
		n.log.Warn("the system allows fewer open files than the kept connections need: raise LimitNOFILE",
			"setting", api.SettingPollConnections, "wanted", setting, "kept", most, "open_files", openFiles())
	}
}
