package agent

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/agent/yield"
	"redflag/api"
	"redflag/ratelimit"
	"redflag/telemetry"
)

// limits applies settings while the agent runs. The machine's own caps can
// only be made stricter from outside.
type limits struct {
	download, upload         *ratelimit.Bucket
	siteDownload, siteUpload *ratelimit.Bucket // to agents of the same site
	ownDownload              api.Rate
	ownUpload                api.Rate
	ownDebug                 bool
	log                      hclog.Logger // the root logger, whose level is set
	now                      func() time.Time

	mu  sync.Mutex
	set api.AgentSettings // as applied last
	// share is this machine's part of its site's budgets, until shareEnds.
	share     api.Lease
	shareEnds time.Time
	// yielded is what other traffic on the link leaves.
	yielded yield.Caps
}

// hourTick is how soon an edge of the schedule is felt.
const hourTick = time.Second

func newLimits(cfg *Config) *limits {
	return &limits{
		download:     ratelimit.NewBucket(cfg.DownloadLimit),
		upload:       ratelimit.NewBucket(cfg.UploadLimit),
		siteDownload: ratelimit.NewBucket(api.Unlimited), siteUpload: ratelimit.NewBucket(api.Unlimited),
		ownDownload: cfg.DownloadLimit,
		ownUpload:   cfg.UploadLimit,
		ownDebug:    cfg.Debug,
		log:         cfg.Logger,
		now:         time.Now,
	}
}

func (l *limits) apply(s api.AgentSettings) {
	l.mu.Lock()
	l.set = s
	l.mu.Unlock()
	l.refresh(l.now())
	telemetry.SetDebug(l.log, l.ownDebug || s.Debug)
	l.log.Info("settings applied", "settings_version", s.Version, "debug", l.ownDebug || s.Debug,
		"download_limit", l.download.Rate().String(), "upload_limit", l.upload.Rate().String())
}

// refresh sets the caps of a moment.
func (l *limits) refresh(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.set.Settings()
	down, up := all.Schedule(api.SettingAgentSchedule).At(now)
	down = down.Lower(l.ofSite(api.SettingSiteDownload, l.share.Download, now))
	up = up.Lower(l.ofSite(api.SettingSiteUpload, l.share.Upload, now))
	l.download.SetRate(l.ownDownload.Lower(l.set.DownloadLimit).Lower(down).Lower(l.yielded.Down))
	l.upload.SetRate(l.ownUpload.Lower(l.set.UploadLimit).Lower(up).Lower(l.yielded.Up))
	l.siteDownload.SetRate(all.Rate(api.SettingAgentSite).Lower(l.yielded.Down))
	l.siteUpload.SetRate(all.Rate(api.SettingAgentSite).Lower(l.yielded.Up))
}

// yield takes what other traffic on the link leaves.
func (l *limits) yield(caps yield.Caps) {
	l.mu.Lock()
	l.yielded = caps
	l.mu.Unlock()
	l.refresh(l.now())
}

// yields reports whether this machine yields to other traffic at all.
func (l *limits) yields() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.set.Settings().Bool(api.SettingAgentYield)
}

// moved returns what the swarm has moved so far, on the wire.
func (l *limits) moved() yield.Bytes {
	return yield.Bytes{
		Down: l.download.Passed() + l.siteDownload.Passed(),
		Up:   l.upload.Passed() + l.siteUpload.Passed(),
	}
}

// yieldTo follows the traffic on the default route's interface until ctx ends.
func (l *limits) yieldTo(ctx context.Context, roundTrip func(context.Context) (string, time.Duration, error)) error {
	return yield.Run(ctx, yield.Link{
		On: l.yields, Own: l.moved, Interface: yield.DefaultInterface, RTT: roundTrip, Set: l.yield,
	})
}

// ofSite returns what this machine may use of a budget of its site. Without a
// lease that holds, others may use all of it. It needs mu.
func (l *limits) ofSite(budget api.SettingKey, share api.Rate, now time.Time) api.Rate {
	switch {
	case l.set.Settings().Rate(budget) == api.Unlimited:
		return api.Unlimited
	case now.After(l.shareEnds) || share == api.Unlimited:
		return ratelimit.Trickle
	default:
		return share
	}
}

// lease takes this machine's share of its site's budgets. It counts from when
// it was asked for: the node counts from later.
func (l *limits) lease(share api.Lease, asked time.Time) {
	l.mu.Lock()
	l.share, l.shareEnds = share, asked.Add(time.Duration(share.For))
	l.mu.Unlock()
	l.refresh(l.now())
}

// run follows the schedule until ctx ends, also while no node is in reach.
func (l *limits) run(ctx context.Context) error {
	ticker := time.NewTicker(hourTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			l.refresh(l.now())
		}
	}
}
