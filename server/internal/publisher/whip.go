// SPDX-License-Identifier: Apache-2.0

package publisher

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// WHIP is where and how to publish by RFC 9725.
type WHIP struct {
	URL    string       // the endpoint
	Token  string       // sent as a bearer token when not empty
	Client *http.Client // nil = http.DefaultClient
}

// PublishWHIP is [Publish] with the exchange of RFC 9725: POST of the offer, and DELETE of the session at Close.
func PublishWHIP(ctx context.Context, cfg Config, w WHIP) (*Publisher, error) {
	session := ""
	p, err := Publish(ctx, cfg, func(ctx context.Context, offer string) (answer string, err error) {
		answer, session, err = w.post(ctx, offer)
		return answer, err
	})
	if session == "" {
		return p, err
	}
	if err != nil { // the server has a session that we shall not use
		_ = w.delete(context.WithoutCancel(ctx), session)
		return nil, err
	}
	p.bye = func(ctx context.Context) error { return w.delete(ctx, session) }
	return p, nil
}

// post sends the offer and returns the answer and the session's URL.
func (w WHIP) post(ctx context.Context, offer string) (answer, session string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, strings.NewReader(offer))
	if err != nil {
		return "", "", fmt.Errorf("whip: %w", err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	resp, err := w.do(req)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", "", fmt.Errorf("whip: read answer: %w", err)
	}
	if resp.StatusCode != http.StatusCreated {
		return "", "", fmt.Errorf("whip: POST answered %s", resp.Status)
	}
	location, err := resp.Location()
	if err != nil {
		return "", "", fmt.Errorf("whip: session's location: %w", err)
	}
	return string(body), location.String(), nil
}

// delete ends the session. One that has ended already is fine.
func (w WHIP) delete(ctx context.Context, session string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, session, nil)
	if err != nil {
		return fmt.Errorf("whip: %w", err)
	}
	resp, err := w.do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusNotFound {
		return fmt.Errorf("whip: DELETE answered %s", resp.Status)
	}
	return nil
}

func (w WHIP) do(req *http.Request) (*http.Response, error) {
	if w.Token != "" {
		req.Header.Set("Authorization", "Bearer "+w.Token)
	}
	client := w.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("whip: %w", err)
	}
	return resp, nil
}
