package pipeline

// cache is a bounded map in two generations: new entries go to young, and when
// that is full it becomes old and what was old is dropped. A flood of new keys
// then costs a hot entry one more computation in a generation, and a hit
// writes nothing; an LRU list, which was rejected, writes on every hit. It is
// not safe for concurrent use.
type cache[K comparable, V any] struct {
	young, old map[K]V
	max        int // entries per generation
}

// newCache returns a cache of at most max entries.
func newCache[K comparable, V any](max int) cache[K, V] {
	return cache[K, V]{young: make(map[K]V), old: make(map[K]V), max: max / 2}
}

func (c *cache[K, V]) get(key K) (V, bool) {
	if value, ok := c.young[key]; ok {
		return value, true
	}
	value, ok := c.old[key]
	return value, ok
}

// put adds an entry. The cache keeps the key, so one that aliases a buffer
// must be cloned.
func (c *cache[K, V]) put(key K, value V) {
	if len(c.young) >= c.max {
		c.old, c.young = c.young, make(map[K]V)
	}
	c.young[key] = value
}
