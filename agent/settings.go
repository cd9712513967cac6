package agent

import (
	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/ratelimit"
	"redflag/telemetry"
)

// limits applies settings while the agent runs. The machine's own caps can
// only be made stricter from outside.
type limits struct {
	download, upload *ratelimit.Bucket
	ownDownload      api.Rate
	ownUpload        api.Rate
	ownDebug         bool
	log              hclog.Logger // the root logger, whose level is set
}

func newLimits(cfg *Config) *limits {
	return &limits{
		download:    ratelimit.NewBucket(cfg.DownloadLimit),
		upload:      ratelimit.NewBucket(cfg.UploadLimit),
		ownDownload: cfg.DownloadLimit,
		ownUpload:   cfg.UploadLimit,
		ownDebug:    cfg.Debug,
		log:         cfg.Logger,
	}
}

func (l *limits) apply(s api.AgentSettings) {
	l.download.SetRate(l.ownDownload.Lower(s.DownloadLimit))
	l.upload.SetRate(l.ownUpload.Lower(s.UploadLimit))
	telemetry.SetDebug(l.log, l.ownDebug || s.Debug)
	l.log.Info("settings applied", "settings_version", s.Version, "debug", l.ownDebug || s.Debug,
		"download_limit", l.download.Rate().String(), "upload_limit", l.upload.Rate().String())
}
