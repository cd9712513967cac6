package yield

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKernelTables(t *testing.T) {
	const four = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n" +
		"docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n" +
		"wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
	require.Equal(t, "wlan0", routeOf(four))
	require.Empty(t, routeOf("Iface\n"))
	const zero = "00000000000000000000000000000000"
	require.Equal(t, "eth0", routeOf6(zero+" 00 "+zero+" 00 "+zero+" ffffffff 00000001 00000000 00200200 lo\n"+
		zero+" 00 "+zero+" 00 "+zero+" 00000400 00000001 00000000 00000003 eth0\n"))
	all, err := countersOf("Inter-|   Receive\n  eth0: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n", "eth0")
	require.NoError(t, err)
	require.Equal(t, Bytes{Down: 10, Up: 20}, all)
	_, err = countersOf("", "eth0")
	require.Error(t, err)
}
