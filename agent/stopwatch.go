package agent

import (
	"time"

	"redflag/api"
)

// stopwatch times the steps of a command.
type stopwatch struct {
	steps []api.Step
	began time.Time // of the last step
}

// next ends the step that runs and begins another one. The same one again goes
// on: an attempt was repeated.
func (s *stopwatch) next(name string) {
	if n := len(s.steps); n > 0 && s.steps[n-1].Name == name {
		return
	}
	s.lap()
	s.steps = append(s.steps, api.Step{Name: name})
	s.began = time.Now()
}

func (s *stopwatch) lap() {
	if n := len(s.steps); n > 0 {
		s.steps[n-1].Millis = time.Since(s.began).Milliseconds()
	}
}

// stop ends the last step and returns all of them.
func (s *stopwatch) stop() []api.Step {
	s.lap()
	return s.steps[:min(len(s.steps), api.MaxSteps)]
}
