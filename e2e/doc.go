// Package e2e tests the built binary: real processes, on loopback, driven the
// way an operator drives them. It owns no code of the product and must never
// reach into its internals: it sees files, exit codes, logs and the API.
package e2e
