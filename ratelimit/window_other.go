//go:build !linux

package ratelimit

import (
	"net"

	"redflag/api"
)

func setWindow(net.Conn, api.Rate) {}
