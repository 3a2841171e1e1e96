package main

import (
	"fmt"
	"image/color"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// draw puts two plots side by side: CPU time with its spread, and the latencies.
func (o redirectCommand) draw(rows []redirectRow, w io.Writer) error {
	cpu, err := plotCPU(rows)
	if err != nil {
		return err
	}
	latency, err := o.plotLatency(rows)
	if err != nil {
		return err
	}
	canvas := vgsvg.New(26*vg.Centimeter, 11*vg.Centimeter)
	tiles := draw.Tiles{Rows: 1, Cols: 2, PadX: vg.Centimeter, PadTop: vg.Millimeter, PadBottom: vg.Millimeter, PadLeft: vg.Millimeter, PadRight: 3 * vg.Millimeter}
	plots := [][]*plot.Plot{{cpu, latency}}
	for i, where := range plot.Align(plots, tiles, draw.New(canvas))[0] {
		plots[0][i].Draw(where)
	}
	_, err = canvas.WriteTo(w)
	return err
}

func plotCPU(rows []redirectRow) (*plot.Plot, error) {
	values := make([]spread, len(rows))
	for i, row := range rows {
		values[i] = spreadOf(series(row.full, cpuOf))
	}
	p := plot.New()
	p.Title.Text = "CPU time of the server, at saturation"
	p.Y.Label.Text = "µs a request"
	p.X.Tick.Marker = plot.ConstantTicks{} // the legend of the latencies has the names
	return p, addBars(p, values)
}

func (o redirectCommand) plotLatency(rows []redirectRow) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("Latency at %.0f requests a second", o.Rate)
	p.Y.Label.Text = "ms"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.NominalX("p50", "p99", "p99.9")
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(&plotter.Grid{Horizontal: draw.LineStyle{Color: color.Gray{220}, Width: vg.Points(0.5)}})
	for i, row := range rows {
		var points plotter.XYs
		for x, measure := range []func(turn) float64{p50Of, p99Of, p999Of} {
			points = append(points, plotter.XY{X: float64(x), Y: spreadOf(series(row.half, measure)).median})
		}
		if err := addLine(p, i, row.name, points); err != nil {
			return nil, err
		}
	}
	return p, nil
}
