package admin

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"waymark/tracker"
)

type qrInput struct {
	LinkPath
	Size       int    `query:"size" default:"512" doc:"Side in pixels, 32 to 4096."`
	Margin     int    `query:"margin" default:"4" doc:"Quiet zone in modules, up to 32."`
	Correction string `query:"ec" default:"M" doc:"Error correction: L, M, Q or H."`
	Foreground string `query:"fg" default:"000000" doc:"Colour in hexadecimal: rgb, rrggbb or rrggbbaa."`
	Background string `query:"bg" default:"ffffff" doc:"Colour in hexadecimal: rgb, rrggbb or rrggbbaa."`
}

// parameter gives the query's parameters to tracker.ParseQR.
func (in *qrInput) parameter(name string) string {
	switch name {
	case "size":
		return strconv.Itoa(in.Size)
	case "margin":
		return strconv.Itoa(in.Margin)
	case "ec":
		return in.Correction
	case "fg":
		return in.Foreground
	case "bg":
		return in.Background
	}
	return ""
}

func (s *server) registerQR() {
	s.registerQRImage("svg", "image/svg+xml", tracker.QR.WriteSVG)
	s.registerQRImage("png", "image/png", tracker.QR.WritePNG)
}

func (s *server) registerQRImage(extension, contentType string, write func(tracker.QR, io.Writer, string) error) {
	op := operation("GET", "/v1/links/{code}/qr."+extension, "link-qr-"+extension, "QR code of a link; following it is a scan", reader, 404)
	op.Responses = map[string]*huma.Response{"200": contentResponse("The image", map[string]*huma.Schema{
		contentType: {Type: huma.TypeString, Format: "binary"},
	})}
	route(s, op, "query", func(ctx context.Context, in *qrInput) (*bytesOutput, error) {
		link, err := s.find(ctx, &in.LinkPath)
		if err != nil {
			return nil, err
		}
		code, err := tracker.ParseQR(in.parameter)
		if err != nil {
			return nil, err
		}
		address, err := link.ScanURL(s.PublicURL)
		if err != nil {
			return nil, err
		}
		var image bytes.Buffer
		if err := write(code, &image, address); err != nil {
			return nil, err
		}
		return &bytesOutput{ContentType: contentType, Status: http.StatusOK, Body: image.Bytes()}, nil
	})
}
