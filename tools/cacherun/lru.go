package main

import (
	lru "github.com/hashicorp/golang-lru/v2/simplelru"
)

// hitRate is that of an LRU cache of so many bytes.
func hitRate(up *upstream, pulls []int, capacity int64) float64 {
	var held int64
	cache, err := lru.NewLRU(len(up.images), func(_ int, bytes int64) { held -= bytes })
	if err != nil {
		panic(err) // only for a size below 1
	}
	hits := 0
	for _, i := range pulls {
		if _, ok := cache.Get(i); ok {
			hits++
			continue
		}
		bytes := up.images[i].bytes()
		cache.Add(i, bytes)
		for held += bytes; held > capacity; {
			cache.RemoveOldest()
		}
	}
	return float64(hits) / float64(len(pulls))
}
