package admin

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readiness has the shape that it has on every other listener.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons" doc:"What is missing, in words."`
}

type readinessOutput struct {
	Status int
	Body   readiness
}

type metricsOutput struct {
	Body func(huma.Context)
}

func (s *server) registerHealth() {
	text := map[string]*huma.Schema{"text/plain": {Type: huma.TypeString}}
	op := operation("GET", "/healthz", "health", "Is the process alive?", public)
	op.Responses = map[string]*huma.Response{"200": contentResponse("It is", text)}
	route(s, op, "query", func(context.Context, *struct{}) (*bytesOutput, error) {
		return &bytesOutput{ContentType: "text/plain; charset=utf-8", Status: http.StatusOK, Body: []byte("ok\n")}, nil
	})

	op = operation("GET", "/readyz", "readiness", "Does everything that requests need answer?", public)
	body := s.schema(reflect.TypeFor[readiness]())
	op.Responses = map[string]*huma.Response{"200": jsonResponse("Ready", body), "503": jsonResponse("Not ready, for these reasons", body)}
	route(s, op, "query", func(context.Context, *struct{}) (*readinessOutput, error) {
		out := &readinessOutput{Status: http.StatusOK, Body: readiness{Reasons: append([]string{}, s.Ready()...)}}
		if out.Body.Ready = len(out.Body.Reasons) == 0; !out.Body.Ready {
			out.Status = http.StatusServiceUnavailable
		}
		return out, nil
	})

	op = operation("GET", "/metrics", "metrics", "Metrics for Prometheus", reader)
	op.Responses = map[string]*huma.Response{"200": contentResponse("Prometheus text format", text)}
	metrics := promhttp.HandlerFor(s.Gatherer, promhttp.HandlerOpts{})
	route(s, op, "query", func(context.Context, *struct{}) (*metricsOutput, error) {
		return &metricsOutput{func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			metrics.ServeHTTP(w, r)
		}}, nil
	})
}
