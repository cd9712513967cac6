// Package regions decides which node is near. It is pure: it ranks what it is
// told and measures nothing itself. It must never open a connection, and an
// agent may import it; who is alive is the business of regions/gossip.
package regions
