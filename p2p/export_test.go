package p2p

import (
	"os"
	"path/filepath"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"
)

// BreakDisk makes every write to an open payload fail from now on. Nothing may
// be written meanwhile.
func (s *Swarm) BreakDisk(infoHash string) error {
	hash, err := parseHash(infoHash)
	if err != nil {
		return err
	}
	p := s.store.get(hash)
	f, err := os.Open(filepath.Join(p.dir, fileData))
	if err != nil {
		return err
	}
	p.close()
	p.data = f
	return nil
}

// SetPatience bounds how long a peer may be asked and deliver nothing.
func (s *Swarm) SetPatience(d time.Duration) { s.patience.Store(int64(d)) }

// ClientID is the BitTorrent peer id of an identity.
var ClientID = clientID

// ServeFalseInfo offers info, and whatever it describes, under an info hash
// that is not its own.
func (s *Swarm) ServeFalseInfo(infoHash string, info []byte, dir string) error {
	hash, err := parseHash(infoHash)
	if err != nil {
		return err
	}
	l, err := parseInfo(info)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, infoName), make([]byte, l.length), 0o600); err != nil {
		return err
	}
	whole := storage.NewMapPieceCompletion()
	for i := range countPieces(l.length, l.pieceLength) {
		if err := whole.Set(metainfo.PieceKey{InfoHash: hash, Index: i}, true); err != nil {
			return err
		}
	}
	s.client.AddTorrentOpt(torrent.AddTorrentOpts{
		InfoHash:                 hash,
		InfoBytes:                info,
		Storage:                  storage.NewFileWithCompletion(dir, whole),
		DisableInitialPieceCheck: true,
	})
	return nil
}
