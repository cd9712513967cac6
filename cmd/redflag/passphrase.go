package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"redflag/api"
	"redflag/trust/signing"
)

// passphraseEnv is read besides --passphrase-file. There is no flag for the
// passphrase itself: arguments stand in every process list.
const passphraseEnv = "REDFLAG_PASSPHRASE" //nolint:gosec // the name of a variable, not a passphrase

func addPassphraseFlags(cmd *cobra.Command) {
	cmd.PersistentFlags().String("passphrase-file", "", "file with the passphrase of the signing keys; else "+passphraseEnv+", else you are asked")
}

// keyOptions opens the keys of a folder with the passphrase that the flags, the
// environment or the terminal give, asked for only when a key is encrypted.
func keyOptions(cmd *cobra.Command) signing.Options {
	return signing.Options{Passphrase: func() (string, error) { return passphrase(cmd, false) }}
}

// newKeyOptions is keyOptions for keys that are made now. The passphrase is
// typed twice; --plain-keys makes them without one.
func newKeyOptions(cmd *cobra.Command) signing.Options {
	if plain, _ := cmd.Flags().GetBool("plain-keys"); plain {
		return signing.Options{}
	}
	return signing.Options{Passphrase: func() (string, error) { return passphrase(cmd, true) }}
}

func addPlainKeysFlag(cmd *cobra.Command) {
	cmd.Flags().Bool("plain-keys", false, "make keys without a passphrase, for tests: who copies the file can sign")
}

func passphrase(cmd *cobra.Command, twice bool) (string, error) {
	if path, _ := cmd.Flags().GetString("passphrase-file"); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", api.Errorf(api.CodeInvalid, "the passphrase file cannot be read: %v", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
	if p := os.Getenv(passphraseEnv); p != "" {
		return p, nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", api.Errorf(api.CodeInvalid, "the signing keys need a passphrase and this is no terminal").
			WithHint("set %s, or pass --passphrase-file FILE", passphraseEnv)
	}
	first, err := ask(cmd, "Passphrase of the signing keys: ")
	if err != nil || !twice {
		return first, err
	}
	again, err := ask(cmd, "Once more: ")
	if err == nil && again != first {
		err = api.Errorf(api.CodeInvalid, "the two passphrases differ")
	}
	return first, err
}

func ask(cmd *cobra.Command, prompt string) (string, error) {
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(cmd.ErrOrStderr())
	if err != nil {
		return "", errors.Join(errors.New("read passphrase"), err)
	}
	return string(b), nil
}
