package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"redflag/api"
	"redflag/durable"
)

const (
	// maxNodes bounds the list of nodes that an agent remembers.
	maxNodes  = 256
	maxLearnt = 1 << 20
)

// learnt is what polls have taught the agent. It is kept so that a restart
// needs no configured node alive, and no download starts without its cap.
type learnt struct {
	Nodes    []api.NodeAddr    `json:"nodes"`
	Settings api.AgentSettings `json:"settings"`
}

// loadLearnt reads the file, which may be missing. A damaged one is as good
// as missing: the next poll fills it again.
func loadLearnt(path string) (learnt, error) {
	var l learnt
	b, err := durable.ReadFile(path, maxLearnt)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, fmt.Errorf("read learnt nodes: %w", err)
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return learnt{}, fmt.Errorf("decode learnt nodes: %w", err)
	}
	return l, nil
}

func (l learnt) save(path string) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("keep learnt nodes: %w", err)
	}
	return nil
}
