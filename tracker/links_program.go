package tracker

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"

	"waymark/tracker/wire"
)

// programs is the programmes by name; readers take no lock.
type programs struct {
	byName  atomic.Pointer[map[string]*Program]
	epoch   atomic.Uint64 // counts changes, after they are visible
	folding atomic.Bool   // some programme is case-insensitive
}

func newPrograms() *programs {
	p := &programs{}
	general := NewProgram(DefaultProgram)
	p.byName.Store(&map[string]*Program{DefaultProgram: &general})
	return p
}

func (p *programs) get(name string) (*Program, bool) {
	program, ok := (*p.byName.Load())[name]
	return program, ok
}

// folds reports whether a programme matches its codes in any case.
func (p *programs) folds(name string) bool {
	program, ok := p.get(name)
	return ok && program.CaseInsensitive
}

// set is called by one goroutine at a time.
func (p *programs) set(program *Program) {
	byName := make(map[string]*Program)
	folding := program.CaseInsensitive
	for name, known := range *p.byName.Load() {
		byName[name] = known
		folding = folding || known.CaseInsensitive && name != program.Name
	}
	byName[program.Name] = program
	p.byName.Store(&byName)
	p.folding.Store(folding)
	p.epoch.Add(1)
}

// ApplyProgram takes a new or changed programme. Every link is prepared anew
// on its next visit, and links of a programme that has become case-insensitive
// are found in any case when it returns. An error means that memory ran out;
// the programme can be applied again.
func (l *Links) ApplyProgram(program Program) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	begins := program.CaseInsensitive && !l.programs.folds(program.Name)
	l.programs.set(&program)
	if begins {
		return l.foldAll(l.set.Load())
	}
	return nil
}

// foldAll puts all links of case-insensitive programmes in the folded index.
func (l *Links) foldAll(set *linkSet) error {
	if !l.programs.folding.Load() {
		return nil
	}
	return l.each(set, func(n LinkNumber, record []byte) error {
		if !l.recordFolds(record) {
			return nil
		}
		domain, code := recordKey(record)
		k := l.linkKey(domain, code)
		folded := l.foldedKey(&k)
		return l.fold(set, n, &folded)
	})
}

// FoldingClash returns two codes, each after its domain if it has one, that
// would be the same link if a programme matched its codes in any case: both of
// the programme, or one of another that does so already. They are "" if there
// are none. It looks at every link, some seconds for ten million.
func (l *Links) FoldingClash(program string) (a, b string) {
	seen := map[uint64]LinkNumber{} // by the hash of the folded key
	match := func(w *wire.Link) bool {
		if a != "" || w.Program != program && !l.programs.folds(w.Program) {
			return false
		}
		k := l.linkKey([]byte(w.Domain), []byte(w.Code))
		folded := l.foldedKey(&k)
		if other, taken := seen[folded.hash]; taken {
			a, b = codeInDomain(l.ByNumber(other).Link), codeInDomain(w)
		}
		seen[folded.hash] = LinkNumber(w.Number)
		return false
	}
	for _, next := l.List(0, 1, match); next != 0 && a == ""; {
		_, next = l.List(next, 1, match)
	}
	return a, b
}

// codeInDomain copies, since links that are only looked at are borrowed.
func codeInDomain(w *wire.Link) string {
	if w.Domain == "" {
		return strings.Clone(w.Code)
	}
	return w.Domain + "/" + w.Code
}

// Program returns a programme by name. It must not be changed.
func (l *Links) Program(name string) (*Program, bool) { return l.programs.get(name) }

// Programs returns all programmes by name.
func (l *Links) Programs() []Program {
	var all []Program
	for _, program := range *l.programs.byName.Load() {
		all = append(all, *program)
	}
	slices.SortFunc(all, func(a, b Program) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
