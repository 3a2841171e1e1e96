package main

import (
	"fmt"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
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
	to, err := p.WriterTo(vg.Length(max(4*len(names), 12))*vg.Centimeter, 10*vg.Centimeter, "svg")
	if err != nil {
		return fmt.Errorf("draw bars: %w", err)
	}
	_, err = to.WriteTo(w)
	return err
}
