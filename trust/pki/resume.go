package pki

import (
	"context"
	"crypto/tls"
	"net"
)

// DialResuming connects to the node at addr with a configuration of PollingTLS.
//
// The keys of a resumed session rest on those of the session that it resumes as
// well as on a new key exchange (RFC 8446, section 2.2). Every session here
// begins with a hybrid of X25519 and ML-KEM, so a classical exchange is enough to
// make what is resumed forward secret; with P-256, which crypto has in assembly, a
// handshake costs both ends least. A node that does not resume the session is
// dialled again: none begins with less than the hybrid.
func DialResuming(ctx context.Context, d *net.Dialer, addr string, conf *tls.Config) (*tls.Conn, error) {
	if sessions := conf.ClientSessionCache; sessions != nil {
		if _, ok := sessions.Get(conf.ServerName); ok {
			light := conf.Clone()
			light.CurvePreferences = []tls.CurveID{tls.CurveP256}
			c, err := dialTLS(ctx, d, addr, light)
			if err != nil || c.ConnectionState().DidResume {
				return c, err
			}
			_ = c.Close()
			sessions.Put(conf.ServerName, nil)
		}
	}
	return dialTLS(ctx, d, addr, conf)
}

func dialTLS(ctx context.Context, d *net.Dialer, addr string, conf *tls.Config) (*tls.Conn, error) {
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	f := newFlight(raw)
	c := tls.Client(f, conf)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	f.handshaken()
	return c, nil
}
