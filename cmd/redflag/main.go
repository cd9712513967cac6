// Command redflag distributes signed updates to machines in many regions:
// one binary is the regional node, the agent and the operator's tool.
//
// Each subcommand has a file of its own that parses flags and prints; what a
// library user would miss belongs in another package.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"redflag/api"
)

// version is set at link time.
var version = "dev"

// Exit codes, as --help documents them.
const (
	exitFailed   = 1 // the thing asked for was not done
	exitUsage    = 2 // the command line or the configuration is wrong
	exitNotFound = 3 // the named thing does not exist
	exitAuth     = 4 // the caller may not do this
	exitNoAnswer = 5 // no server answers, or the outcome is unknown
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	report(err)
	os.Exit(exitCode(err))
}

func run(ctx context.Context, args []string) error {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && (strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag")) {
		return usageError{fmt.Errorf("%w\n  next: redflag --help", err)} // cobra has no type for these
	}
	return err
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// silentError ends the program with a code after everything has been said.
type silentError struct{ code int }

func (e silentError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func report(err error) {
	if _, ok := errors.AsType[silentError](err); ok {
		return
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "redflag: interrupted")
		return
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		fmt.Fprintln(os.Stderr, "redflag:", e.Message)
		if e.Hint != "" {
			fmt.Fprintln(os.Stderr, "  next:", e.Hint)
		}
		return
	}
	fmt.Fprintln(os.Stderr, "redflag:", err)
}

func exitCode(err error) int {
	if e, ok := errors.AsType[silentError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	switch api.CodeOf(err) {
	case api.CodeInvalid:
		return exitUsage
	case api.CodeNotFound:
		return exitNotFound
	case api.CodeUnauthenticated, api.CodeDenied:
		return exitAuth
	case api.CodeUnavailable, api.CodeIndeterminate, api.CodeBehind, api.CodeRateLimited:
		return exitNoAnswer
	default:
		return exitFailed
	}
}
