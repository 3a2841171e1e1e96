package main

import (
	"fmt"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// spreads are bars of medians with whiskers from least to most.
type spreads []spread

func (s spreads) Len() int                    { return len(s) }
func (s spreads) Value(i int) float64         { return s[i].median }
func (s spreads) XY(i int) (float64, float64) { return float64(i), s[i].median }
func (s spreads) YError(i int) (float64, float64) {
	return s[i].median - s[i].least, s[i].most - s[i].median
}

// addBars draws bars of medians with whiskers from least to most.
func addBars(p *plot.Plot, values []spread) error {
	p.Y.Min = 0
	for i, value := range values {
		bar, err := plotter.NewBarChart(plotter.Values{value.median}, vg.Centimeter)
		if err != nil {
			return fmt.Errorf("plot bars: %w", err)
		}
		bar.XMin, bar.Color, bar.LineStyle.Width = float64(i), plotutil.Color(i), 0
		p.Add(bar)
	}
	whiskers, err := plotter.NewYErrorBars(spreads(values))
	if err != nil {
		return fmt.Errorf("plot bars: %w", err)
	}
	p.Add(whiskers)
	return nil
}

// drawBars writes a plot of nothing but bars as SVG.
func drawBars(title string, names []string, values []spread, w io.Writer) error {
	p := plot.New()
	p.Title.Text = title
	p.NominalX(names...)
	if err := addBars(p, values); err != nil {
		return err
	}
	return writeSVG(p, vg.Length(max(4*len(names), 12))*vg.Centimeter, w)
}

// addLine draws a line with a dot for each point, in the i-th colour, and names
// it in the legend.
func addLine(p *plot.Plot, i int, name string, points plotter.XYs) error {
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return fmt.Errorf("plot %s: %w", name, err)
	}
	line.Color, dots.Color, dots.Shape, line.Width = plotutil.Color(i), plotutil.Color(i), draw.CircleGlyph{}, vg.Points(1.5)
	p.Add(line, dots)
	p.Legend.Add(name, line, dots)
	return nil
}

// plotWidth is that of a plot on its own.
const plotWidth = 18 * vg.Centimeter

func writeSVG(p *plot.Plot, width vg.Length, w io.Writer) error {
	to, err := p.WriterTo(width, 10*vg.Centimeter, "svg")
	if err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	_, err = to.WriteTo(w)
	return err
}
