package tracker

import (
	"fmt"
	"slices"
)

// maskedSecret is shown in place of a webhook's secret, and written back keeps it.
const maskedSecret = "***"

// Masked is the programme as it may be shown: without the secrets of its
// webhooks, which nobody but their sender needs.
func (p *Program) Masked() Program {
	masked := *p
	masked.Webhooks = slices.Clone(p.Webhooks)
	for i := range masked.Webhooks {
		masked.Webhooks[i].Secret = maskedSecret
	}
	return masked
}

// KeepSecrets replaces masked secrets by those that the webhooks with the same
// address have in before, which may be nil. The error is a *FieldError.
func (p *Program) KeepSecrets(before *Program) error {
	for i := range p.Webhooks {
		hook := &p.Webhooks[i]
		if hook.Secret != maskedSecret {
			continue
		}
		at := -1
		if before != nil {
			at = slices.IndexFunc(before.Webhooks, func(h Webhook) bool { return h.URL == hook.URL })
		}
		if at < 0 {
			return fieldErrorf(fmt.Sprintf("webhooks[%d].secret", i), "is %s, and there is no webhook with this url whose secret could be kept: give it one", maskedSecret)
		}
		hook.Secret = before.Webhooks[at].Secret
	}
	return nil
}
