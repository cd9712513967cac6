// Package install puts payloads on a machine in ways that can always go back.
//
// It owns the store of versions, the installers and the order of their steps.
// Every stage is on disk before it begins, so that after a crash at any instant
// the engine goes on and the machine ends on exactly the old version or exactly
// the new one. It must never decide whether a payload may be installed: what
// it is given has been verified.
//
//	new → staged → applying → [rebooting →] verifying → checking → committing → cleaning
//	                  └─────────────┴───────────┴───────────┴──→ reverting → [revert_rebooting →] cleaning
package install
