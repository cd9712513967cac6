package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// dashboardDir is where the pages' source, their build and the screenshots are.
const dashboardDir = "../node/dashboard"

// needDashboard returns the browser to drive. It takes a minute and a browser,
// so make test-dashboard asks for it; then nothing may be missing.
func needDashboard(t *testing.T) string {
	t.Helper()
	if os.Getenv("REDFLAG_DASHBOARD") == "" {
		t.Skip("drives a browser: run make test-dashboard")
	}
	_, err := os.Stat(filepath.Join(dashboardDir, "dist", "index.html"))
	require.NoError(t, err, "the dashboard is not built: run make dashboard build")
	path, err := exec.LookPath("chromium")
	require.NoError(t, err, "on Debian: apt-get install chromium")
	return path
}

// browser is one tab, signed in to nothing yet. Whatever it complains of on
// its console fails the test, and so does a request to another host.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string
	axe  string

	bin   string // what the commands that pages offer are checked with
	known map[string]bool

	mu       sync.Mutex
	troubles []string
	excused  []string // what a troubled line may contain
}

func newBrowser(m *mesh, chromium, base string) *browser {
	t := m.t
	t.Helper()
	axe, err := os.ReadFile(filepath.Join(dashboardDir, "node_modules", "axe-core", "axe.min.js"))
	require.NoError(t, err, "run make dashboard")
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.WindowSize(1440, 900),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.UserDataDir(t.TempDir()),
	)
	ctx, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	b := &browser{t: t, ctx: ctx, base: base, axe: string(axe), bin: m.bin, known: map[string]bool{}}
	require.NoError(t, chromedp.Listen(ctx, b.listen))
	_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			b.shot("failed")
			t.Logf("the page at %s says:\n%s", b.eval("location.href"), b.eval("document.body.innerText"))
		}
	})
	return b
}

func (b *browser) listen(ev any) {
	switch ev := ev.(type) {
	case *cdpruntime.EventExceptionThrown:
		b.trouble("exception: %s", ev.ExceptionDetails.Text+" "+description(ev.ExceptionDetails.Exception))
	case *cdpruntime.EventConsoleAPICalled:
		if ev.Type == cdpruntime.ConsoleAPICalledTypeError || ev.Type == cdpruntime.ConsoleAPICalledTypeWarning {
			args, _ := json.Marshal(ev.Args)
			b.trouble("console %s: %s", ev.Type, args)
		}
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.EntryLevelError || ev.Entry.Source == log.EntrySourceSecurity {
			b.trouble("log: %s %s (%s)", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(ev.Request.URL)
		if err != nil || (u.Scheme != "data" && u.Scheme != "blob" && "http://"+u.Host != b.base) {
			b.trouble("a request to another host: %s", ev.Request.URL)
		}
	}
}

func description(o *cdpruntime.RemoteObject) string {
	if o == nil {
		return ""
	}
	return o.Description
}

func (b *browser) trouble(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.troubles = append(b.troubles, fmt.Sprintf(format, args...))
}

// excuse lets lines that contain one of parts pass, for failures that a test
// brings about itself.
func (b *browser) excuse(parts ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.excused = append(b.excused, parts...)
}

func (b *browser) requireQuiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.troubles {
		excused := false
		for _, part := range b.excused {
			excused = excused || strings.Contains(line, part)
		}
		require.True(b.t, excused, "the console has: %s", line)
	}
}

func (b *browser) run(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, actions...), what)
}

// call sends one command of the DevTools protocol.
func call[P, R any](b *browser, cmd cdp.Command[P, R], params P) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	_, err := chromedp.Call(ctx, cmd, params)
	require.NoError(b.t, err, cmd.Method)
}

func (b *browser) eval(js string) string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+js+")"))
	if err != nil {
		return err.Error()
	}
	return out
}

func (b *browser) until(what, js string) {
	b.t.Helper()
	b.t.Log(what)
	require.Eventually(b.t, func() bool { return b.eval("Boolean("+js+")") == "true" }, patience, 100*time.Millisecond, what)
}

// open goes to a place of the dashboard as a link from outside does.
func (b *browser) open(path string) {
	b.t.Helper()
	b.run("open "+path, chromedp.Navigate(b.base+path))
}

// see waits until a text stands on the page.
func (b *browser) see(text string) {
	b.t.Helper()
	q, _ := json.Marshal(text)
	b.until("see "+text, "document.body.innerText.includes("+string(q)+")")
}

// settled waits until nothing on the page is loading.
func (b *browser) settled() {
	b.t.Helper()
	b.until("the page settles", `document.querySelector('main h1, form') && !document.querySelector('[aria-busy="true"], .mantine-Loader-root')`)
}

const byName = `//*[self::a or self::button or @role="option" or @role="tab" or self::label][normalize-space(.)=%[1]q or @aria-label=%[1]q]`

// click presses the button, link, tab or option of that name.
func (b *browser) click(name string) {
	b.t.Helper()
	b.run("click "+name, chromedp.Click(fmt.Sprintf(byName, name), chromedp.NodeVisible))
}

// confirm presses a button of the open question, whose command must be one.
func (b *browser) confirm(name string) {
	b.t.Helper()
	b.offers()
	b.run("confirm "+name, chromedp.Click(fmt.Sprintf(`//section[@role="dialog"]//button[normalize-space(.)=%q]`, name), chromedp.NodeVisible))
}

// choose picks an option of the select of that label.
func (b *browser) choose(label, option string) {
	b.t.Helper()
	b.run("open "+label, chromedp.Click(field(label), chromedp.NodeVisible))
	b.click(option)
}

// field finds the input that has a label.
func field(label string) string {
	return fmt.Sprintf(`//input[@aria-label=%[1]q or @id=//label[starts-with(normalize-space(.),%[1]q)]/@for]`, label)
}

func (b *browser) fill(label, text string) {
	b.t.Helper()
	b.run("fill "+label, chromedp.SendKeys(field(label), text, chromedp.NodeVisible))
}

// refill writes over what a field has.
func (b *browser) refill(label, text string) {
	b.t.Helper()
	at, _ := json.Marshal(field(label))
	b.eval("document.evaluate(" + string(at) + ", document, null, XPathResult.FIRST_ORDERED_NODE_TYPE).singleNodeValue.select()")
	b.fill(label, text)
}

// drag moves the mouse, pressed, from the middle of one element to another's.
func (b *browser) drag(from, to string) {
	b.t.Helper()
	middle := func(selector string) (x, y float64) {
		q, _ := json.Marshal(selector)
		at := b.eval("(r => JSON.stringify([r.x + r.width / 2, r.y + r.height / 2]))(document.querySelector(" + string(q) + ").getBoundingClientRect())")
		var xy [2]float64
		require.NoError(b.t, json.Unmarshal([]byte(at), &xy), "%s is at %s", selector, at)
		return xy[0], xy[1]
	}
	x1, y1 := middle(from)
	x2, y2 := middle(to)
	mouse := func(typ input.DispatchMouseEventType, x, y float64) {
		call(b, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: typ, X: x, Y: y, Button: input.MouseButtonLeft, Buttons: 1, ClickCount: 1})
	}
	mouse(input.DispatchMouseEventTypeMousePressed, x1, y1)
	for _, part := range []float64{0.3, 0.7, 1} {
		mouse(input.DispatchMouseEventTypeMouseMoved, x1+part*(x2-x1), y1+part*(y2-y1))
	}
	mouse(input.DispatchMouseEventTypeMouseReleased, x2, y2)
}

// offers lets the CLI judge every command that the page offers: whoever copies
// one must not find that a flag is called otherwise.
func (b *browser) offers() {
	b.t.Helper()
	var commands []string
	list := b.eval(`JSON.stringify([...document.querySelectorAll('[data-cli]')].map(e => e.dataset.cli).concat([...document.querySelectorAll('pre')].map(e => e.innerText)))`)
	require.NoError(b.t, json.Unmarshal([]byte(list), &commands), list)
	for _, line := range commands {
		for command := range strings.SplitSeq(line, " && ") {
			if !strings.HasPrefix(command, "redflag ") || b.known[command] {
				continue
			}
			b.known[command] = true
			sh := exec.Command("sh", "-c", b.bin+strings.TrimPrefix(command, "redflag")+" --help")
			out, err := sh.CombinedOutput()
			require.NoError(b.t, err, "a page offers %q\n%s", command, out)
		}
	}
}

// key presses a key of which the page takes the default away, as a browser
// does then: no character follows.
func (b *browser) key(key, code string) {
	b.t.Helper()
	for _, typ := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
		call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: typ, Key: key, Code: code})
	}
}

// accessible fails on what axe finds to be serious. It is for settled pages.
func (b *browser) accessible(name string) {
	b.t.Helper()
	type violation struct {
		ID     string   `json:"id"`
		Impact string   `json:"impact"`
		Help   string   `json:"help"`
		HTML   []string `json:"html"`
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Evaluate[int](b.axe+"; 0"))
	require.NoError(b.t, err, "axe loads")
	found, err := chromedp.Run(ctx, chromedp.Evaluate[[]violation](
		`axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help, html: v.nodes.slice(0, 3).map(n => n.html)})))`,
		chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, "axe runs on %s", name)
	for _, v := range found {
		if v.Impact == "serious" || v.Impact == "critical" {
			b.t.Errorf("%s: axe finds %s (%s): %v", name, v.ID, v.Help, v.HTML)
		}
	}
}

// shoot takes pictures of a settled page, light and dark, wide and narrow, and
// lets axe look at both schemes.
func (b *browser) shoot(name string) {
	b.t.Helper()
	b.settled()
	b.offers()
	for _, scheme := range []string{"light", "dark"} {
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		b.until("the scheme is "+scheme, `document.documentElement.dataset.mantineColorScheme === "`+scheme+`"`)
		for _, width := range []int64{390, 1440} {
			call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
				Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 500,
			})
			b.shot(fmt.Sprintf("%s-%s-%d", name, scheme, width))
		}
		b.accessible(name + " " + scheme)
	}
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
	call(b, emulation.ClearDeviceMetricsOverride, cdp.Empty{})
}

func (b *browser) shot(name string) {
	dir := filepath.Join(dashboardDir, "screenshots")
	ctx, cancel := context.WithTimeout(b.ctx, 15*time.Second)
	defer cancel()
	beyond := true
	var png []byte
	res, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: page.CaptureScreenshotFormatPng, CaptureBeyondViewport: &beyond,
	})
	if err == nil {
		png = res.Data
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		b.t.Logf("no screenshot %s: %v", name, err)
	}
}

// operatorToken reads the credential that the first node wrote.
func (m *mesh) operatorToken() string {
	m.t.Helper()
	var cred struct{ Token string }
	require.NoError(m.t, readJSON(m.path("n1", "operator.json"), &cred))
	return cred.Token
}

// TestDashboardIsServed: every node serves the pages, or says how to build
// them; the API beside them still answers in JSON.
func TestDashboardIsServed(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n := m.found()
	get := func(path string) (int, http.Header) {
		res, err := http.Get(n.runtime.API + path)
		require.NoError(t, err)
		defer res.Body.Close()
		return res.StatusCode, res.Header
	}
	status, header := get("/agents")
	require.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, status)
	require.Contains(t, header.Get("Content-Type"), "text/html")
	require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
	status, header = get("/v1/nonsense")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, header.Get("Content-Type"), "json")
}
