package admin

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"waymark/tracker"
)

// programVersion is what a programme said from a time on.
type programVersion struct {
	Version       uint64          `json:"version" doc:"Number of the version; later ones are larger."`
	EffectiveFrom time.Time       `json:"effective_from" doc:"Its rules hold for what happened from then on, until the next version's."`
	WrittenAt     time.Time       `json:"written_at"`
	Program       tracker.Program `json:"program"`
}

type listVersionsInput struct {
	ProgramPath
	Limit int `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"At most so many, the latest."`
}

type listVersionsOutput struct {
	Body struct {
		Versions []programVersion `json:"versions" doc:"In the order in which they were written."`
	}
}

func (s *server) listVersions(ctx context.Context, in *listVersionsInput) (*listVersionsOutput, error) {
	if _, ok := s.Links.Program(in.Name); !ok || !sees(caller(ctx), in.Name) {
		return nil, fieldProblem(http.StatusNotFound, "path", "name", "there is no programme "+strconv.Quote(in.Name))
	}
	rows, err := s.ProgramHistory.ProgramVersions(ctx, in.Name)
	if err != nil {
		return nil, fmt.Errorf("look for the versions of the programme: %w: %w", tracker.ErrUnavailable, err)
	}
	out := &listVersionsOutput{}
	out.Body.Versions = []programVersion{}
	for _, row := range rows[max(0, len(rows)-in.Limit):] {
		out.Body.Versions = append(out.Body.Versions, programVersion{
			Version: row.Version, EffectiveFrom: row.Program.EffectiveFrom, WrittenAt: row.WrittenAt, Program: row.Program.Masked(),
		})
	}
	return out, nil
}
