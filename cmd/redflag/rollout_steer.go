package main

import (
	"net/http"
	"net/url"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"redflag/api"
)

// newRolloutSteer makes the commands that change a rollout that goes on.
func newRolloutSteer() []*cobra.Command {
	var reason string
	pause := rolloutAction("pause ID", "Hand out nothing more until it is resumed; what agents hold goes on",
		"  redflag rollout pause r-01K9 --reason \"store opens\"", "pause",
		func(string) any { return api.ChangeRolloutRequest{Reason: reason} })
	pause.Flags().StringVar(&reason, "reason", "", "why, for those who look at it")
	resume := rolloutAction("resume ID", "Go on after a pause, or after a halt with failures counted anew",
		"  redflag rollout resume r-01K9", "resume", func(string) any { return api.ChangeRolloutRequest{} })
	abort := rolloutAction("abort ID", "Cancel what waits, and ask agents to stop what they hold",
		"  redflag rollout abort r-01K9", "cancel", func(string) any { return nil })
	abort.Aliases = []string{"cancel"}

	back := api.RollbackRequest{}
	var plan planFlags
	rollback := rolloutAction("rollback ID", "Abort a rollout and send everyone on whom it succeeded back, as a new rollout",
		"  redflag rollout rollback r-01K9\n  redflag rollout rollback r-01K9 --wave 10% --max-failure-ratio 5", "rollback",
		func(string) any { return &back })
	plan.add(rollback)
	rollback.Flags().StringVar(&back.ID, "rollout-id", "", "id of the new rollout, to make a repeat harmless (default: a new one)")
	rollback.PreRunE = func(*cobra.Command, []string) (err error) {
		if back.ID == "" {
			back.ID = "r-" + ulid.Make().String()
		}
		back.Plan, err = plan.plan()
		return err
	}
	return []*cobra.Command{pause, resume, abort, rollback}
}

func rolloutAction(use, short, example, action string, body func(id string) any) *cobra.Command {
	return &cobra.Command{
		Use:     use,
		Short:   short,
		Example: example,
		Args:    exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var r api.Rollout
			path := "/v1/rollouts/" + url.PathEscape(args[0]) + "/" + action
			if err := client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPost, path, body(args[0]), &r); err != nil {
				return err
			}
			return printRollout(cmd, r)
		},
	}
}
