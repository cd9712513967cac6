package p2p

import "time"

// members is one swarm as its tracker knows it.
type members struct {
	byID   map[string]*Member
	crowds map[place]*crowd
	// crossing is who fetches across regions, by its region.
	crossing map[string]crossing
}

// crossing is the member that fetches for its region. Helpless says that the
// region had no living node when it was chosen.
type crossing struct {
	id       string
	helpless bool
}

// place names a region, or a site of it.
type place struct{ region, site string }

// The crowds of a member: of its region, and of its site if that has a name.
const (
	inRegion = iota
	inSite
)

// crowd is who is in one place. Members keep their position as long as nobody
// leaves before them, and that is their rank.
type crowd struct{ missing, whole []*Member }

func (c *crowd) size() int { return len(c.missing) + len(c.whole) }

func (c *crowd) member(i int) *Member {
	if i < len(c.missing) {
		return c.missing[i]
	}
	return c.whole[i-len(c.missing)]
}

// list is where a member stands.
func (c *crowd) list(m *Member) *[]*Member {
	if m.Left > 0 {
		return &c.missing
	}
	return &c.whole
}

func (c *crowd) add(m *Member, in int) {
	l := c.list(m)
	m.at[in] = len(*l)
	*l = append(*l, m)
}

// remove puts the last member in the place of m.
func (c *crowd) remove(m *Member, in int) {
	l := c.list(m)
	last := len(*l) - 1
	moved := (*l)[last]
	(*l)[m.at[in]], (*l)[last] = moved, nil
	moved.at[in] = m.at[in]
	*l = (*l)[:last]
}

func (s *members) crowd(p place) *crowd {
	c := s.crowds[p]
	if c == nil {
		c = &crowd{}
		s.crowds[p] = c
	}
	return c
}

// take notes what a member says, and returns it as it is kept.
func (s *members) take(m Member, now time.Time) *Member {
	m.seen, m.came, m.moved = now, now, now
	o := s.byID[m.ID]
	if o != nil && now.Sub(o.seen) <= crossingExpiry {
		m.came = o.came
		if m.Left >= o.Left {
			m.moved = o.moved
		}
	}
	if o != nil && o.Region == m.Region && o.Site == m.Site && (o.Left > 0) == (m.Left > 0) {
		m.at = o.at
		*o = m
		return o
	}
	if o != nil {
		s.drop(o)
	}
	s.byID[m.ID] = &m
	s.crowd(place{region: m.Region}).add(&m, inRegion)
	if m.Site != "" {
		s.crowd(place{m.Region, m.Site}).add(&m, inSite)
	}
	return &m
}

func (s *members) drop(m *Member) {
	delete(s.byID, m.ID)
	s.crowd(place{region: m.Region}).remove(m, inRegion)
	if m.Site != "" {
		s.crowd(place{m.Region, m.Site}).remove(m, inSite)
	}
}

func (s *members) sweep(now time.Time) {
	for _, m := range s.byID {
		if now.Sub(m.seen) > memberExpiry {
			s.drop(m)
		}
	}
	for p, c := range s.crowds {
		if c.size() == 0 {
			delete(s.crowds, p)
		}
	}
}
