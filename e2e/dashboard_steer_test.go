package e2e

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// here is the last part of the page's path: the id of what it shows.
func (b *browser) here() string { return b.eval(`location.pathname.split("/").pop()`) }

// pausesAndResumes rolls out in waves, of which the first one waits for a
// machine that is off, and steers that in the browser.
func (b *browser) pausesAndResumes(m *mesh, first *proc) {
	first.kill()
	b.open("/rollouts/new")
	b.choose("Artifact", "app")
	b.choose("Version", "1.1.0")
	b.click("Every agent")
	b.fill("Waves", "1, 50%")
	b.see("6 agents in 3 regions")
	b.click("Create…")
	b.confirm("Start on 6 agents")
	b.see("Wave 1 of 3")
	b.click("Pause…")
	b.confirm("Pause")
	b.see("It is paused")
	paused := rollout{ID: b.here()}

	first.start()
	back := time.Now()
	m.eventually("the machine is heard again", func() bool {
		var a struct{ Presence lastPoll }
		m.runJSON(&a, "agents", "show", "kiosk-1")
		return a.Presence.At.After(back)
	})
	require.Equal(b.t, "pending", m.command(paused, "kiosk-1").State, "a paused rollout hands out nothing")
	b.shoot("rollout-paused")
	b.click("Resume…")
	b.confirm("Resume")
	b.see("Wave 3 of 3")
	b.see("6 of 6 agents ended")
	b.until("every wave is passed", `document.body.innerText.match(/\bpassed\b/g)?.length === 3`)
	require.Equal(b.t, string(payload(2, 3<<20)), m.installed("kiosk-6"))
	b.shoot("rollout-waves")
}

// failsAndRetries installs what a machine lacks something for, reads what the
// check said there, mends that, and tries again.
func (b *browser) failsAndRetries(m *mesh) {
	licence := m.path("licence")
	require.NoError(b.t, os.WriteFile(m.path("guarded.bin"), payload(4, 64<<10), 0o600))
	m.run("publish", m.path("guarded.bin"), "--name", "guarded", "--version", "1.0.0", "--check", "command:cat "+licence, "--check-within", "4s")
	b.open("/agents/kiosk-2")
	b.click("Roll out…")
	b.choose("Artifact", "guarded")
	b.choose("Version", "1.0.0")
	b.click("Create…")
	b.confirm("Start on 1 agent")
	b.see("Why agents failed")
	b.shoot("rollout-failed")
	b.run("open the example", chromedp.Click(`//section[@aria-label="Why agents failed"]//tbody//a[starts-with(@href, "/commands/")]`, chromedp.NodeVisible))
	b.see("No such file or directory")
	b.see("Execution log")
	b.shoot("command-failed")

	require.NoError(b.t, os.WriteFile(licence, []byte("granted"), 0o600))
	b.click("Retry…")
	b.confirm("Retry on 1 agent")
	b.see("1 of 1 agent ended")
	b.see("done")
	require.Equal(b.t, "succeeded", m.command(rollout{ID: b.here()}, "kiosk-2").State)
}

// debugsOne turns debug on for one machine and for an hour, and sees that
// machine's level change and no other's.
func (b *browser) debugsOne(m *mesh) {
	b.open("/agents/kiosk-2")
	b.click("Set for this agent")
	b.see("the one agent kiosk-2")
	b.run("toggle", chromedp.Click(`//input[@aria-label="debug"]/..`))
	b.see("1 change not saved yet")
	b.choose("How long", "For 1 hour")
	b.shoot("settings-changed")
	b.click("Save…")
	b.confirm("Save 1 change")
	b.until("nothing is pending", `!document.body.innerText.includes("not saved yet")`)
	m.eventually("the agent's level changes", func() bool { return strings.Contains(m.log("kiosk-2"), `"debug":true`) })
	b.open("/agents/kiosk-2")
	b.until("the layer that won is named", `[...document.querySelectorAll('section[aria-label="Settings of this agent"] tr')].some(r => r.innerText.includes("debug") && r.innerText.includes("agent:kiosk-2"))`)
	b.open("/logs?agent=kiosk-2&grep=poll+answered")
	b.until("its debug lines come", `[...document.querySelectorAll('.rf-log tbody tr')].some(r => r.innerText.includes("debug"))`)
	b.shoot("logs-debug")
	b.open("/logs?agent=kiosk-4&grep=poll+answered")
	b.see("No line matches")
	require.NotContains(b.t, m.log("kiosk-4"), `"debug":true`)
	m.run("settings", "unset", "debug", "--agent", "kiosk-2")
}

// paints draws a week of caps with the mouse, and sees the agent keep to it.
func (b *browser) paints(m *mesh) {
	const size = 1 << 20
	b.open("/settings?layer=agent:kiosk-3&q=schedule")
	b.click("Paint agent.schedule…")
	b.see("Drag over the hours")
	b.drag(`[data-hour="0"]`, `[data-hour="167"]`)
	b.refill("Down", "1mbit")
	b.drag(`[data-hour="8"]`, `[data-hour="113"]`) // Monday 8:00 to Friday 17:00
	b.until("the hours are parts of a schedule", `/^mon-fri 00:00-08:00 \S+ down=2mbit up=1mbit;\nmon-fri 08:00-18:00 \S+ down=1mbit up=1mbit;\n/.test(document.querySelector('[role="dialog"] pre')?.innerText)`)
	b.shoot("schedule")
	b.click("Use this week")
	b.click("Save…")
	b.confirm("Save 1 change")
	m.eventually("the agent's cap changes", func() bool {
		return strings.Contains(m.log("kiosk-3"), `"download_limit":"2mbit"`) || strings.Contains(m.log("kiosk-3"), `"download_limit":"1mbit"`)
	})

	m.publish("1.3.0", payload(5, size))
	r := m.rollOut("--version", "1.3.0", "--to", "agent:kiosk-3,kiosk-6")
	b.open("/swarm?rollout=" + r.ID)
	row := func(id string) string {
		return `[...document.querySelectorAll('section[aria-label="Members of the swarm"] tr')].find(r => r.innerText.startsWith("` + id + `"))?.innerText`
	}
	b.until("the cap is that of the hour", `/of [12]mbit/.test(`+row("kiosk-3")+`)`)
	b.until("another machine has none", `/of unlimited/.test(`+row("kiosk-6")+`)`)
	b.shoot("swarm-capped")
	var swarm struct {
		Members []struct{ ID, Took string }
	}
	m.runJSON(&swarm, "swarm", "show", r.ID)
	for _, member := range swarm.Members {
		took, err := time.ParseDuration(member.Took)
		require.NoError(b.t, err)
		if member.ID == "kiosk-3" { // at 2 Mbit/s it takes 4.2 s, some of which a first burst saves
			require.Greater(b.t, took, 2*time.Second)
		}
	}
	m.run("settings", "unset", "agent.schedule", "--agent", "kiosk-3")
}

// viewer looks at every page as somebody who may change nothing: what the node
// would refuse is not offered, and what an admin is offered there is.
func (b *browser) viewer(m *mesh) {
	pages := []string{
		"/", "/agents", "/agents/kiosk-1", "/rollouts", b.first("/rollouts?state=with+failures"), b.first("/commands?state=rolled_back"),
		"/settings", "/settings?tab=history", "/settings?layer=agent:kiosk-3&q=schedule", "/swarm", "/trends", "/nodes", "/logs", "/audit",
	}
	const changes = `document.querySelectorAll('main [data-changes], main input[role="switch"]:not(:disabled)').length`
	offered := 0
	for _, page := range pages {
		b.open(page)
		b.settled()
		if b.eval(changes) != "0" {
			offered++
		}
	}
	require.GreaterOrEqual(b.t, offered, 6, "pages offer changes to an admin")

	b.signInAs(m.run("operator", "create", "watcher", "--role", "viewer"))
	b.see("watcher (viewer)")
	for _, page := range pages {
		b.open(page)
		b.settled()
		require.Equal(b.t, "0", b.eval(changes), "%s offers a viewer what is refused", page)
	}
	b.open("/settings")
	b.settled()
	b.shoot("viewer-settings")
	b.open("/rollouts/new")
	b.see("This needs the role operator")
	b.open("/trust")
	b.see("This needs the role admin")
	b.shoot("viewer-denied")
	b.signInAs(m.operatorToken())
}

// first follows the first link of a listing and returns where it leads.
func (b *browser) first(listing string) string {
	b.open(listing)
	b.until(listing+" has rows", `document.querySelector('.rf-table tbody tr')`)
	href := b.eval(`[...document.querySelectorAll('.rf-table tbody a')].map(a => a.getAttribute("href")).find(h => /^\/(rollouts|commands)\//.test(h))`)
	require.True(b.t, strings.HasPrefix(href, "/"), href)
	return href
}

func (b *browser) signInAs(token string) {
	b.click("Sign out")
	b.fill("Operator token", token+kb.Enter)
	b.until("somebody is signed in", `document.querySelector('main h1')?.innerText !== "RedFlag"`)
}

// outlivesItsSession has another tab sign in anew, and then the session end, while a
// change of settings waits to be saved.
func (b *browser) outlivesItsSession(m *mesh) {
	b.excuse("status of 403") // what proved a change meant is another tab's now
	b.open("/settings?q=poll.idle")
	b.until("the field is there", `document.querySelector('input[aria-label="poll.idle"]')`)
	b.refill("poll.idle", "7s")
	b.see("1 change not saved yet")
	b.eval(fmt.Sprintf(`fetch("/v1/session", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({token: %q})}).then(r => { window.again = r.ok })`, m.operatorToken()))
	b.until("another tab has signed in", "window.again")
	b.click("Save…")
	b.confirm("Save 1 change")
	b.until("nothing is pending", `!document.body.innerText.includes("not saved yet")`)
	require.Contains(b.t, m.run("settings", "explain", "poll.idle", "--agent", "kiosk-4"), "7s")

	b.refill("poll.idle", "8s")
	b.see("1 change not saved yet")
	b.eval(`fetch("/v1/session").then(r => r.json()).then(s => fetch("/v1/session", {method: "DELETE", headers: {"X-CSRF-Token": s.csrf}}))`)
	b.see("What was typed is still there")
	b.shoot("session-ended")
	b.fill("Operator token", m.operatorToken()+kb.Enter)
	b.see("1 change not saved yet")
	b.click("Drop")
	m.run("settings", "set", "poll.idle=1s")
}
