package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"redflag/api"
)

// TestDashboard is an operator's day at the pages: everything real, three
// nodes, agents in three regions, and a browser.
func TestDashboard(t *testing.T) {
	chromium := needDashboard(t)
	m := newMesh(t)
	procs := m.cluster()
	b := newBrowser(m, chromium, procs["n1"].runtime.API)
	b.excuse("status of 404", "status of 401") // parts of the API that are not there yet; a wrong token

	b.signIn(m)
	b.shoot("first-run")

	token := m.run("token", "create", "--seats", "6", "--label", "role=kiosk")
	for i, region := range []string{"eu", "us", "ap", "eu", "us", "ap"} {
		id := fmt.Sprintf("kiosk-%d", i+1)
		procs[id] = m.start(id, "agent", "--id", id, "--region", region, "--data-dir", m.path(id),
			"--node", procs["n1"].runtime.Mesh, "--swarm-listen", "127.0.0.1:0", "--token", token)
		if i == 0 { // waves go by when a machine came
			m.eventually("the first is enrolled", func() bool { return strings.Contains(m.run("agents"), id) })
		}
	}
	m.publish("1.0.0", payload(1, 3<<20))
	m.publish("1.1.0", payload(2, 3<<20))
	b.open("/agents")
	b.see("6 agents match, 6 heard lately")

	b.installs(m)
	b.pausesAndResumes(m, procs["kiosk-1"])
	b.failsAndRetries(m)
	b.failsForAll()
	b.rollsBack(m)
	b.debugsOne(m)
	b.paints(m)
	b.outlivesItsSession(m)
	b.makesToken(m, procs["n2"])
	b.keyboard()
	b.everyPage()
	b.viewer(m)
	b.requireQuiet()

	b.excuse("ERR_CONNECTION_REFUSED")
	b.open("/nodes")
	b.see("n3")
	procs["n1"].kill()
	b.see("What you see is not current")
	b.shoot("stale")
}

// signIn shows that a wrong token is refused and the right one, from the whole
// credential file, is taken.
func (b *browser) signIn(m *mesh) {
	b.open("/")
	b.see("Operator token")
	b.fill("Operator token", "nonsense"+kb.Enter)
	b.see("The API token is not valid here.")
	b.shoot("login")
	b.open("/")
	b.fill("Operator token", m.operatorToken()+kb.Enter)
	b.see("First steps")
}

// installs creates a rollout with the mouse and watches it end.
func (b *browser) installs(m *mesh) {
	b.open("/rollouts/new")
	b.choose("Artifact", "app")
	b.choose("Version", "1.0.0")
	b.fill("Regions", "eu")
	b.click("eu")
	b.see("2 agents in 1 region")
	b.fill("Regions", "us")
	b.click("us")
	b.see("4 agents in 2 regions")
	b.run("leave the field", chromedp.KeyEvent(kb.Escape))
	b.fill("Order of regions", "us"+kb.ArrowDown+kb.Enter)
	b.see("the rest")
	b.fill("Maintenance windows", "mon-fri 26:00-04:00"+kb.Enter)
	b.see("is no window")
	b.fill("Maintenance windows", kb.Backspace+"daily 00:00-24:00 UTC"+kb.Enter)
	b.see("within daily 00:00-24:00 UTC: open now")
	b.see("redflag rollout create app --version 1.0.0 --to region:eu,us --region-order us --success-threshold 100 --max-failure-ratio 10 --window 'daily 00:00-24:00 UTC' --watch")
	b.shoot("new-rollout")
	b.click("Create…")
	b.see("Start on 4 agents")
	b.shoot("confirm")
	b.confirm("Start on 4 agents")
	b.see("4 of 4 agents ended")
	b.see("done")
	require.Equal(b.t, string(payload(1, 3<<20)), m.installed("kiosk-1"))
	b.see("us, then the rest")
	b.shoot("rollout")
	var made struct {
		Plan api.Plan `json:"plan"`
	}
	m.runJSON(&made, "rollout", "show", b.here())
	window, err := api.ParseWindow("daily 00:00-24:00 UTC")
	require.NoError(b.t, err)
	require.Equal(b.t, []api.Window{window}, made.Plan.Windows)
	require.Equal(b.t, []string{"us"}, made.Plan.RegionOrder)
}

// failsForAll rolls back what has nothing before it, and reads why.
func (b *browser) failsForAll() {
	b.open("/rollouts?artifact=app")
	b.click("app 1.1.0")
	b.click("Roll back…")
	b.confirm("Roll back 6 agents")
	b.see("app back")
	b.see("6 of 6 agents ended")
}

// rollsBack takes one machine back to the version before.
func (b *browser) rollsBack(m *mesh) {
	m.publish("1.2.0", payload(3, 1<<20))
	m.rollOut("--version", "1.2.0", "--to", "all")
	require.Equal(b.t, string(payload(3, 1<<20)), m.installed("kiosk-1"))
	b.open("/agents/kiosk-1")
	b.see("1.2.0")
	b.shoot("agent")
	b.click("Roll back")
	b.see("One machine is hit")
	b.confirm("Roll back 1 agent")
	b.see("1 of 1 agent ended")
	require.Equal(b.t, string(payload(1, 3<<20)), m.installed("kiosk-1"))
}

// makesToken makes an enrolment token in the browser, and a machine enrols with it.
func (b *browser) makesToken(m *mesh, via *proc) {
	b.open("/trust?tab=tokens")
	b.click("New token")
	b.see("Valid for")
	b.shoot("new-token")
	b.click("Make the token")
	b.see("It is shown this once")
	token := b.eval(`document.querySelector('[role="dialog"] pre').innerText`)
	m.start("fresh", "agent", "--id", "fresh", "--region", "eu", "--data-dir", m.path("fresh"),
		"--node", via.runtime.Mesh, "--swarm-listen", "127.0.0.1:0", "--token", token)
	b.click("I have it")
	b.see("1 of 10")
}

// keyboard goes about without a mouse.
func (b *browser) keyboard() {
	press := func(keys string) { b.run("press "+keys, chromedp.KeyEvent(keys)) }
	b.open("/")
	b.see("Needs attention")
	press("g")
	press("a")
	b.until("g a goes to the agents", `location.pathname === "/agents"`)
	b.see("kiosk-1")
	b.key("/", "Slash") // as a key and no more: the page moves the cursor before a character comes
	press("region:us")
	b.until("the filter is in the URL", `location.search.includes("region")`)
	b.see("2 agents match")
	press(kb.Escape)
	press("?")
	b.see("Keyboard shortcuts")
	b.shoot("shortcuts")
	press(kb.Escape)
	b.until("the list is closed", `!document.querySelector('[role="dialog"]')`)
	press("g")
	press("r")
	b.until("g r goes to the rollouts", `location.pathname === "/rollouts"`)
}

// everyPage looks at what was not looked at on the way.
func (b *browser) everyPage() {
	for _, p := range []struct{ name, path, says string }{
		{"overview", "/", "Needs attention"},
		{"agents", "/agents", "kiosk-6"},
		{"agents-none", "/agents?select=region:mars", "No agent matches"},
		{"rollouts", "/rollouts", "app 1.1.0"},
		{"history", "/commands", "kiosk-6"},
		{"history-failed", "/commands?state=failed", "no previous"},
		{"history-class", "/commands?class=health&since=24h", "guarded 1.0.0"},
		{"agent-ready", "/agents/kiosk-2", "Latest log lines"},
		{"swarm", "/swarm", "Who gets bytes from whom"},
		{"metrics", "/trends", "By artifact"},
		{"logs", "/logs", "Logs"},
		{"nodes", "/nodes", "caught up"},
		{"settings", "/settings", "poll.idle"},
		{"settings-history", "/settings?tab=history", "debug"},
		{"settings-layer", "/settings?layer=region:eu", "the nodes and agents of eu"},
		{"trust", "/trust", "Signatures wanted"},
		{"tokens", "/trust?tab=tokens", "Enrolment tokens"},
		{"audit", "/audit", "Audit"},
		{"lost", "/nonsense", "There is no such page"},
		{"agent-lost", "/agents/nobody", "There is no agent"},
	} {
		b.open(p.path)
		b.see(p.says)
		b.shoot(p.name)
	}
}
