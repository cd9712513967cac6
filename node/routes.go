package node

import (
	"net/http"

	"redflag/api"
	"redflag/node/dashboard"
	"redflag/trust/pki"
)

// meshRoutes is what the mesh port answers over HTTP. Who may call is a
// property of the group, never of the handler.
func (n *Node) meshRoutes() http.Handler {
	mux := http.NewServeMux()

	// Anyone: enrolment proves itself with a token, health says ok or not.
	anyone := func(pattern string, h handler) { mux.Handle(pattern, n.serve(maxSmallBody, h)) }
	anyone("GET /v1/health", n.publicHealth)
	anyone("POST /v1/enrol/agent", n.limited(n.enrolAgent))
	anyone("POST /v1/enrol/node", n.limited(n.enrolNode))
	anyone("POST /v1/enrol/renew", n.limited(n.renewExpired))

	agents := func(pattern string, h handler) {
		mux.Handle(pattern, n.serve(maxPollBody, n.asMember(h, pki.RoleAgent)))
	}
	agents("POST /v1/agents/{id}/poll", n.poll)
	agents("POST /v1/agents/{id}/logs", n.takeLogs)
	agents("POST /v1/swarm/{hash}/announce", n.announce)
	agents("GET /v1/swarm/{hash}/data", n.dataRange)
	agents("GET /v1/swarm/{hash}/info", n.info)

	members := func(pattern string, h handler) {
		mux.Handle(pattern, n.serve(api.MaxBody, n.asMember(h, pki.RoleAgent, pki.RoleNode)))
	}
	members("GET /v1/tuf/{file}", n.tufFile)

	nodes := func(pattern string, h handler) {
		mux.Handle(pattern, n.serve(api.MaxBody, n.asMember(h, pki.RoleNode)))
	}
	nodes("POST /v1/mesh/propose", n.forwarded)
	nodes("POST /v1/mesh/presence", n.meshPresence)
	nodes("GET /v1/mesh/swarms/{hash}", n.meshSwarm)
	nodes("POST /v1/mesh/swarms/{hash}/announce", n.announceHome)
	nodes("GET /v1/mesh/swarms/{hash}/crosser", n.showCrosser)
	nodes("POST /v1/mesh/heard", n.meshHeard)
	nodes("POST /v1/mesh/readiness", n.meshReadiness)
	nodes("POST /v1/mesh/outdated", n.meshOutdated)
	nodes("POST /v1/mesh/archive", n.meshArchive)
	nodes("GET /v1/mesh/health", n.fullHealth)
	nodes("GET /v1/mesh/probe", n.meshProbe)
	nodes("GET "+pathStats, n.stats)
	nodes("POST /v1/mesh/logs", n.meshLogs)
	nodes("PUT /v1/mesh/address", n.moveNode)

	mux.Handle("/", n.serve(maxSmallBody, notFound))
	return mux
}

// routeMux knows its routes, so that they can be compared with their documents.
type routeMux struct {
	*http.ServeMux
	patterns []string
}

// Handle implements what http.ServeMux does.
func (m *routeMux) Handle(pattern string, h http.Handler) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.Handle(pattern, h)
}

// apiRoutes is what operators reach. The CLI and the dashboard have no other way.
func (n *Node) apiRoutes() http.Handler {
	mux := &routeMux{ServeMux: http.NewServeMux()}
	mux.Handle("GET /v1/openapi.json", n.serve(maxSmallBody, n.openapi))
	mux.Handle("GET /v1/health", n.serve(maxSmallBody, n.ownHealth))

	operators := func(pattern string, h handler) { mux.Handle(pattern, n.serve(api.MaxBody, n.traced(n.asOperator(h)))) }
	operators("GET /v1/cluster/health", n.clusterHealth)
	operators("GET /v1/logs", n.findLogs)
	operators("GET /metrics", n.showMetrics)
	operators("GET /v1/metrics/updates", n.updateMetrics)
	operators("GET /v1/nodes", n.listNodes)
	operators("GET /v1/regions", n.listRegions)
	operators("GET /v1/agents", n.listAgents)
	operators("GET /v1/agent-counts", n.summarizeAgents)
	operators("GET /v1/agent-readiness", n.summarizeReadiness)
	operators("GET /v1/agent-updates", n.summarizeUpdates)
	operators("GET /v1/agents/{id}", n.showAgent)
	operators("GET /v1/pool", n.showPool)
	operators("GET /v1/pool/tasks", n.listPoolTasks)
	operators("POST /v1/pool/tasks", n.createPoolTask)
	operators("GET /v1/artifacts", n.listArtifacts)
	operators("GET /v1/artifacts/{name}/{version}/torrent", n.torrent)
	operators("POST /v1/artifacts", n.publish)
	operators("GET /v1/rollouts", n.listRollouts)
	operators("POST /v1/rollouts", n.createRollout)
	operators("GET /v1/rollouts/{id}", n.showRollout)
	operators("GET /v1/rollouts/{id}/swarm", n.showSwarm)
	operators("POST /v1/rollouts/{id}/cancel", n.cancelRollout)
	operators("POST /v1/rollouts/{id}/pause", n.pauseRollout)
	operators("POST /v1/rollouts/{id}/resume", n.resumeRollout)
	operators("POST /v1/rollouts/{id}/rollback", n.rollBackRollout)
	operators("GET /v1/commands", n.listCommands)
	operators("GET /v1/commands/{id}", n.showCommand)
	operators("POST /v1/commands/{id}/cancel", n.cancelCommand)
	operators("POST /v1/commands/{id}/retry", n.retryCommand)
	operators("GET /v1/settings", n.showSettings)
	operators("GET /v1/settings/explain", n.explainSettings)
	operators("GET /v1/settings/history", n.settingsHistory)
	operators("GET /v1/tuf/{file}", n.tufFile)
	operators("GET /v1/audit", n.listAudit)
	operators("GET /v1/operators/self", n.whoami)

	// What changes who is trusted, or what everybody runs under, is for admins.
	admins := func(pattern string, h handler) { mux.Handle(pattern, n.serve(api.MaxBody, n.traced(n.asAdmin(h)))) }
	admins("DELETE /v1/nodes/{id}", n.removeNode)
	admins("POST /v1/agents/{id}/revoke", n.revokeAgent)
	admins("PATCH /v1/agents/{id}/labels", n.labelAgent)
	admins("PATCH /v1/settings", n.changeSettings)
	admins("POST /v1/settings/history/{change}/undo", n.undoSettings)
	admins("GET /v1/tokens", n.listTokens)
	admins("POST /v1/tokens", n.createToken)
	admins("DELETE /v1/tokens/{id}", n.revokeToken)
	admins("GET /v1/trust", n.trustStatus)
	admins("PUT /v1/trust", n.updateTrust)
	admins("POST /v1/trust/online-key", n.nextOnlineKey)
	admins("GET /v1/ca", n.showCA)
	admins("POST /v1/ca/rotate", n.rotateCA)
	admins("POST /v1/ca/advance", n.advanceCA)
	admins("GET /v1/operators", n.listOperators)
	admins("POST /v1/operators", n.createOperator)
	admins("DELETE /v1/operators/{id}", n.revokeOperator)

	// The whole state is for admins even to look at.
	mux.Handle("GET /v1/payloads/{sha256}", n.serve(maxSmallBody, n.asRole(api.OperatorRuns, n.downloadPayload)))
	mux.Handle("GET /v1/swarm/{hash}/data", n.serve(maxSmallBody, n.asRole(api.OperatorRuns, n.data)))
	mux.Handle("GET /v1/snapshot", n.serve(maxSmallBody, n.asRole(api.OperatorAdmin, n.saveSnapshot)))

	// A browser logs in with a token once and then has a session.
	mux.Handle("POST /v1/session", n.serveCookies(n.login))
	mux.Handle("GET /v1/session", n.serve(maxSmallBody, n.showSession))
	mux.Handle("DELETE /v1/session", n.serveCookies(n.logout))

	// A payload is as large as the setting says; the handler bounds it.
	mux.Handle("PUT /v1/uploads/{sha256}", n.serve(0, n.asOperator(n.upload)))
	mux.Handle("/v1/", n.serve(maxSmallBody, notFound))
	mux.Handle("/", bounded(dashboard.Handler()))
	return mux
}

func notFound(r *http.Request) (any, error) {
	return nil, api.Errorf(api.CodeNotFound, "there is no %s %s here", r.Method, r.URL.Path)
}
