package main

type eventsCommand struct {
	Import eventsImportCommand `cmd:"" help:"Bring in clicks and actions of another system, with their own times and visitors."`
}
