package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/node"
	"redflag/trust/pki"
)

// addClientFlags gives a command its way to the cluster.
func addClientFlags(cmd *cobra.Command) {
	cmd.PersistentFlags().String("credential", defaultCredential(), "credential file; the first node writes operator.json in its data directory")
	cmd.PersistentFlags().StringSlice("server", nil, "API address to use instead of the ones in the credential, http(s)://host:port")
}

func configDir() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ".redflag"
	}
	return filepath.Join(dir, "redflag")
}

func defaultCredential() string { return filepath.Join(configDir(), "operator.json") }

// connect returns a client for the cluster that the flags name.
func connect(cmd *cobra.Command) (*api.Client, error) {
	path, _ := cmd.Flags().GetString("credential")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.CodeUnauthenticated, "there is no credential at %s", path).
			WithHint("copy operator.json from the first node's data directory there, or name it with --credential")
	}
	if err != nil {
		return nil, fmt.Errorf("read credential: %w", err)
	}
	var cred node.Credential
	if err := json.Unmarshal(b, &cred); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%s is not a credential: %v", path, err)
	}
	if servers, _ := cmd.Flags().GetStringSlice("server"); len(servers) > 0 {
		cred.Servers = servers
	}
	for _, s := range cred.Servers {
		if u, err := url.Parse(s); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, api.Errorf(api.CodeInvalid, "%.80q is no address of a node's API", s).
				WithHint("write https://HOST:7421, or http://127.0.0.1:7421 on the node itself")
		}
	}
	return clientFor(cred)
}

func clientFor(cred node.Credential) (*api.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS13}
	if cred.Authorities != "" {
		conf.RootCAs, conf.ServerName = x509.NewCertPool(), pki.NodeServerName
		if !conf.RootCAs.AppendCertsFromPEM([]byte(cred.Authorities)) {
			return nil, api.Errorf(api.CodeInvalid, "the credential's authorities hold no certificate")
		}
	}
	return &api.Client{
		Servers: cred.Servers, Bearer: cred.Token,
		// An upload takes as long as it takes; the wait for an answer is bounded.
		Timeout: 30 * time.Second,
		HTTP: &http.Client{Transport: &http.Transport{
			DialContext:     (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig: conf, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 2 * time.Minute,
		}},
	}, nil
}
